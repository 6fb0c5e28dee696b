"""Limits of activity types: how many at once, how often."""
