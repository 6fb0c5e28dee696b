"""The projection. A package: its databases end with its last test."""
