"""The error that the command line shows as text, without a traceback."""


class SetupError(Exception):
    """A fault around the program; the text says which, and what to do."""
