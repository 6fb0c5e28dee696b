"""Calls of the HTTP API: the table of routes and the handlers."""
