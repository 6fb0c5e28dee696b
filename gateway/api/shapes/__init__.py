"""Shapes of requests about jobs and limits, and of reports, as the HTTP API has them."""
