"""The gateway over HTTP. A package: its stack ends with its last test."""
