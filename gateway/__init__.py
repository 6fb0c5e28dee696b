"""The gateway: the HTTP door, the webhooks and the search (not part of this version yet)."""
