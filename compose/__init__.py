"""How the parts are put together: the command line, `backbeat dev`, and the Kafka that it starts."""
