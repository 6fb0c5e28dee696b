"""Requests that services publish on signals topics, in Avro or plain JSON, checked once for both."""
