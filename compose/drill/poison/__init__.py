"""Poison: records that nobody should write, as the fuzzers and the drill draw them."""
