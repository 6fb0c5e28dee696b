"""Pages: a handler for each row of the table."""
