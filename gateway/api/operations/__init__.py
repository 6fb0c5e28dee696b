"""Calls of operators: reports, dead letters, retention and archives, audit."""
