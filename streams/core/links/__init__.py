"""Links: nodes that can't complete before another one, in any workflow."""
