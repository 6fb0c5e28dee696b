"""`backbeat bench`: the figures of docs/performance.md."""
