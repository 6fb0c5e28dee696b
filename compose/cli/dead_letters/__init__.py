"""`backbeat dead-letters`: the topic, what a letter says, and what is done with it."""
