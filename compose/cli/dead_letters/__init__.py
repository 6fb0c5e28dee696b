"""`backbeat dead-letters`: the topic, the content of a letter, and commands on it."""
