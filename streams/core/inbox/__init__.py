"""Messages to a workflow, and the nodes that wait for them."""
