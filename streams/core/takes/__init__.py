"""Results that nodes take of nodes before them, as arguments."""
