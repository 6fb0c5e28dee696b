"""The HTTP server: a request from its bytes to a handler, and the answer back."""
