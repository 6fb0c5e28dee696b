"""People in the console: their way in, and their sessions."""
