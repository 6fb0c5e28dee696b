"""The calls of the HTTP API: the table of routes, and their handlers."""
