"""Whole workflows, small enough to be read at once, each with its test."""
