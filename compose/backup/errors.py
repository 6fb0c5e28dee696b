"""Error of a backup or a restore."""


class BackupError(Exception):
    """A backup or a restore cannot be done; the text says why and what to do."""
