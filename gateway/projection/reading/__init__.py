"""Searches, lists and reports from the tables."""
