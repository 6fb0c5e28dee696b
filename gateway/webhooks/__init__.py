"""Webhooks: activities consumed from Kafka and posted to the endpoints of client applications."""
