"""The gateway: HTTP API, webhook delivery and the search projection."""
