"""Setup of a checkout, run by `make setup` before the package is installed: the standard library only."""
