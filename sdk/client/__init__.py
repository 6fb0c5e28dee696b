"""Client: signals, workflows, nodes and searches; jobs, limits and schedules as its parts; and its blocking twin."""
