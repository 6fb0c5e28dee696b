"""Jobs: one change for all nodes or workflows that match, a slice at a time."""
