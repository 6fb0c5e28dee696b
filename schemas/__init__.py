"""What crosses a topic, and what every part of Backbeat must know of Kafka: the ground that all others stand on.

`messages` holds the structs: commands, queries, replies, activities, status changes, ids. `codec` is the way from a
struct to the bytes of a record and back; the schemas of this folder say how. `kafka` holds the topics, the connection
and the registry of clients.

Reading order: messages/values.py, messages/commands.py, messages/replies.py (what crosses), catalogue.py (the schemas),
wire.py (headers and versions), compiler.py (the functions), codec.py (what others call), signals.py (the services'
door). Reading any bytes gives a value or a DecodeError, nothing else.
"""
