"""Input of the engine: the reader of commands and queries, the ingest of signals, and the validation of both."""
