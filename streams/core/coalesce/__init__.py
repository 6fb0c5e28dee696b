"""Coalescing: at most one waiting signal for a workflow and coalesce_key."""
