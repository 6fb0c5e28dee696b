"""Activities: the decorator, and what a handler sees and asks for while it runs."""
