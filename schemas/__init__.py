"""Records of the topics, and Kafka's names and connection: the ground that all other parts stand on.

`messages` holds the structs: commands, queries, replies, activities, status changes, ids. The Avro of each follows from
its annotations (`named_types`); the `*.avsc` files are generated from the same structs, for readers. `codec` is the way
from a struct to the bytes of a record and back. `kafka` holds the topics, the connection and the registry of clients.

Reading order: messages/values.py, messages/commands.py, messages/replies.py (the structs), named_types.py (their Avro),
catalogue.py (the schemas of records), wire.py (headers and versions), compiler.py (the functions), codec.py (the
interface), signals.py (the services' door). Reading any bytes gives a value or a DecodeError, nothing else.
"""
