"""Payloads between a caller's values and the wire: JSON, codecs, stores for large ones."""
