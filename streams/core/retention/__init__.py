"""Retention: when finished workflows are removed, and how."""
