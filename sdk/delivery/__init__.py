"""Delivery of activities from Kafka to a worker, and of its results back."""
