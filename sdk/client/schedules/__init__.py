"""Schedules: workflows that are signalled at times."""
