"""Calls of operators: engines, dead letters, archives, retention, settings."""
