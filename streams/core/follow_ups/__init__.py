"""Activities that follow a node: when its retries are exhausted, when it is to be undone, when it is canceled."""
