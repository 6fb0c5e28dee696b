"""Client: signals, workflows, nodes and searches; its parts (jobs, limits, retention, …); and its blocking twin."""
