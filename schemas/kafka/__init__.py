"""Kafka for every part: topics, connection, outages, client registry, dead letters."""
