"""Kafka clients of the engine: broker clock, lag, queues, reachability, client registration, topic survey."""
