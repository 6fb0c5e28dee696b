"""Faults: objects with inject, act, abort and check."""
