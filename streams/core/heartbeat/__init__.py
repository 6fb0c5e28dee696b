"""Heartbeats of workers, and their progress."""
