"""The worker: handlers, their concurrency, deadlines and results."""
