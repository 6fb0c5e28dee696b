"""Delivery through a share group (KIP-932)."""
