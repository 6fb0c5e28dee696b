"""Composition of the parts: the command line, `backbeat dev`, and the Kafka that it starts."""
