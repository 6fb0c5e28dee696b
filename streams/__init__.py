"""The engine: the pure core, its store and commit, and the Faust app around them."""
