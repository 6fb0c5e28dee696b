"""The database, its tables, and the contents of their rows."""
