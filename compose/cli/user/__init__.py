"""`backbeat user`: the client applications in the registry."""
