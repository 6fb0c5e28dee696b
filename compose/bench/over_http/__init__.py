"""Figures of the gateway: calls, webhooks, searches."""
