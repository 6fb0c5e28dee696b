"""Webhooks. A package: its stack ends with its last test."""
