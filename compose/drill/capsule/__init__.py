"""Capsules: small processes that inject one fault each, by a signed order, and take it back."""
