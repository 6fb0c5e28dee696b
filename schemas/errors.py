"""Errors between values and bytes."""


class DecodeError(ValueError):
    """Bytes that are no record of ours; the text says what is wrong with them and where."""


class UnknownSchemaError(DecodeError):
    """A record whose schema is no version of any of ours: a newer version wrote it, or somebody else."""

    def __init__(self, message: str, fingerprint: bytes) -> None:
        super().__init__(message)
        self.fingerprint = fingerprint


class EncodeError(ValueError):
    """A value that does not fit its schema: a programmer's error, or an id that is not 16 bytes."""


class RegistryError(Exception):
    """The schema registry that is configured cannot be asked: no fault of any record's, so try again or end."""
