"""Kafka: topics, security, outages, clocks, and the registry of clients."""
