"""`backbeat bench`: the figures of docs/explanation/performance.md."""
