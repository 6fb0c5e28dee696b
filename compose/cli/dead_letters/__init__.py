"""`backbeat dead-letters`: its commands, and how letters are printed (`gateway.letters` reads and settles them)."""
