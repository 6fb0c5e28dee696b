"""Metrics, logs, traces and the status server."""
