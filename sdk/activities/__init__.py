"""Activities: the decorator, and the running activity as its handler has it."""
