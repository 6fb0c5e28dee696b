"""From the changelog into the tables: one thread, a batch of records a transaction."""
