"""Kafka, engines, gateways and PostgreSQL as child processes on this machine."""
