"""Errors that concern a store, a partition or the whole process, not one record."""

from __future__ import annotations

from backbeat.schemas.errors import RegistryError


class StoreError(Exception):
    """RocksDB failed. Unless it is one of those below, the process must end before anything is committed."""


class DamagedStoreError(StoreError):
    """Files of a partition's store are missing or wrong: it is set aside and read again from the changelog."""

    def __init__(self, partition: int, reason: str) -> None:
        super().__init__(f"partition {partition}: {reason}")
        self.partition = partition
        self.reason = reason


class FullDiskError(StoreError):
    """The disk is full: the write is repeated when there is room."""


class NewerRecordError(StoreError):
    """A stored record is of a version that this code does not know: starting the process again does not help."""


class RestoreError(Exception):
    """The store and the topics do not belong together: the engine must not run. The text says why."""


class EngineError(Exception):
    """The engine must not go on: the log is inconsistent. The text says how."""


#: Exceptions that are no fault of one record, and end the process. All others concern the record alone.
NOT_OF_A_RECORD = (StoreError, MemoryError, RegistryError)


def defect_text(error: Exception) -> str:
    """The text of an exception in a dead letter or an answer."""
    return f"{type(error).__name__}: {error}"
