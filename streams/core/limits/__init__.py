"""Limits: how many nodes of an activity type may be out at once, how often one may start, and who is next."""
