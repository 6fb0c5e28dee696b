"""Messages: everything that one part of Backbeat says to another, as structs. Pure: no IO, no Kafka, no Avro."""
