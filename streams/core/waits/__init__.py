"""Waits: why a node does not go on, and lists of nodes with what each waits for. Queries only: nothing is changed."""
