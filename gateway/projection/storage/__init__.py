"""The database, its tables, and what of a record is kept in a row."""
