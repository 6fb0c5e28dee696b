"""People who use the console: who they are, what they may, what they did."""
