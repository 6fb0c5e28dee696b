"""Shapes of jobs, limits and reports as the HTTP API answers them."""
