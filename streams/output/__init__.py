"""Output of the engine: activities, replies, history and dead letters."""
