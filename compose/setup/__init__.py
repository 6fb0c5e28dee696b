"""What `make setup` runs before the package is installed: the standard library only."""
