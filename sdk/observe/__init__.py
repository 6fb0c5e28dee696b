"""Traces, transaction ids and a worker's status."""
