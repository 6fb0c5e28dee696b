"""Values on their way: JSON, codecs, payloads that are kept elsewhere."""
