"""The client: workflows, nodes, searches, and what a service does with them."""
