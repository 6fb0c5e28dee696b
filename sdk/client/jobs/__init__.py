"""Jobs: one change for all nodes or workflows that match."""
