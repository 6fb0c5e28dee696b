"""The engine's loop: one record of the log in, its effects out."""
