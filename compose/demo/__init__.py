"""`backbeat demo`: cases that run on a real Kafka and check themselves."""
