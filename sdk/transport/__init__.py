"""The ways from a client to the engine: Kafka, or a gateway over HTTP."""
