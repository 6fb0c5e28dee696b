"""The projection: what the search, the lists and the reports are answered from, in SQL."""
