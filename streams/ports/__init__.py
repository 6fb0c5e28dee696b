"""The ground of the engine's parts: what passes between them, and the ports that more than one of them uses.

A port is a Protocol of what a part needs from outside. A port that only one part uses is defined beside that part.
Nothing here needs Kafka or RocksDB, so the engine's loop can run where they are not installed.
"""
