"""What every part must know of Kafka: its topics, the connection, brokers that are away, clients, dead letters."""
