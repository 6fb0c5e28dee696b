"""The error that the command line shows as text, without a traceback."""


class SetupError(Exception):
    """Something around the program is missing or wrong; the text says what it is and what to do."""
