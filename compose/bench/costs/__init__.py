"""Figures of what a feature costs, against the same without it."""
