"""Watch over metrics before, during and after a fault."""
