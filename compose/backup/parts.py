"""Files of a backup: records in gzip, each with its length before it."""

from __future__ import annotations

import gzip
import hashlib
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from backbeat.compose.backup.errors import BackupError
from backbeat.compose.backup.manifest import Manifest, PartFile, PartitionCopy, damaged
from backbeat.errors import InvalidParameters, NotFound
from backbeat.gateway.archiving.stores import ArchiveStore, BucketStore, FolderStore
from backbeat.stores import parse_store

#: Bytes of the records of one file, before compression.
_FILE_BYTES_MAX = 32 * 1024 * 1024
_READ_BYTES = 1024 * 1024
_LENGTH = struct.Struct(">I")


class CopiedRecord(msgspec.Struct, array_like=True, frozen=True):
    """A record of a topic."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(CopiedRecord).decode


class PartitionWriter:
    """Writes the records of one partition into files of a store."""

    def __init__(self, store: ArchiveStore, topic: str, partition: int) -> None:
        self._store = store
        self._topic = topic
        self._partition = partition
        self._files: list[PartFile] = []
        self._spool: IO[bytes] | None = None
        self._gzip: gzip.GzipFile | None = None
        self._file_records = self._file_bytes = 0

    def add(self, record: CopiedRecord) -> None:
        """Write a record."""
        if self._gzip is None:
            self._spool = tempfile.TemporaryFile(prefix="backbeat-backup-")  # noqa: SIM115 - closed with its file
            self._gzip = gzip.GzipFile(fileobj=self._spool, mode="wb", compresslevel=1, mtime=0)
        text = _encode(record)
        self._gzip.write(_LENGTH.pack(len(text)))
        self._gzip.write(text)
        self._file_records += 1
        self._file_bytes += len(text)
        if self._file_bytes >= _FILE_BYTES_MAX:
            self._end_file()

    def close(self) -> None:
        """Forget what is not written yet."""
        if self._gzip is not None and self._spool is not None:
            self._gzip.close()
            self._spool.close()
        self._gzip = self._spool = None

    def end(self, first: int, end: int) -> PartitionCopy:
        """Write what is left; the partition's entry in the manifest."""
        self._end_file()
        records = sum(file.records for file in self._files)
        return PartitionCopy(self._partition, first, end, records, self._files)

    def _end_file(self) -> None:
        if self._gzip is None or self._spool is None:
            return
        with self._spool as spool:
            self._gzip.close()
            spool.seek(0)
            digest, size = _sum(spool)
            spool.seek(0)
            name = f"{self._topic}/{self._partition}/{len(self._files):06}.gz"
            self._store.put(name, spool)
        self._files.append(PartFile(name, self._file_records, size, digest))
        self._spool = self._gzip = None
        self._file_records = self._file_bytes = 0


def read_partition(store: ArchiveStore, source: str, copy: PartitionCopy) -> Iterator[CopiedRecord]:
    """The records of a partition. BackupError: a file is missing or damaged."""
    for file in copy.files:
        yield from _read_file(store, source, file)


def check_all(store: ArchiveStore, source: str, manifest: Manifest) -> Iterator[tuple[str, int]]:
    """Read everything, checksums first. Yields each partition's topic and number when it is checked. BackupError."""
    for topic in manifest.topics:
        for copy in topic.partitions:
            offset = copy.first - 1
            for file in copy.files:
                _check_sum(store, source, file)
                for record in _read_file(store, source, file):
                    if not offset < record.offset < copy.end:
                        raise damaged(source, f"{file.name} has offset {record.offset} behind {offset}")
                    offset = record.offset
            yield topic.name, copy.partition


def _check_sum(store: ArchiveStore, source: str, file: PartFile) -> None:
    with _open(store, source, file) as content:
        digest, size = _sum(content)
    if size != file.bytes:
        raise damaged(source, f"{file.name} has {size} bytes, {file.bytes} were written")
    if digest != file.sha256:
        raise damaged(source, f"{file.name} has another checksum")


def _sum(content: IO[bytes]) -> tuple[str, int]:
    """SHA-256 and size of a file."""
    digest, size = hashlib.sha256(), 0
    while chunk := content.read(_READ_BYTES):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _open(store: ArchiveStore, source: str, file: PartFile) -> IO[bytes]:
    try:
        return store.open(file.name)
    except NotFound as error:
        raise damaged(source, f"{file.name} is missing") from error


def _read_file(store: ArchiveStore, source: str, file: PartFile) -> Iterator[CopiedRecord]:
    count = 0
    try:
        with _open(store, source, file) as content, gzip.GzipFile(fileobj=content) as records:
            while head := records.read(_LENGTH.size):
                (length,) = _LENGTH.unpack(head)
                yield _decode(records.read(length))
                count += 1
    except (EOFError, gzip.BadGzipFile, zlib.error, struct.error, msgspec.DecodeError) as error:
        raise damaged(source, f"{file.name} cannot be read ({error})") from error
    if count != file.records:
        raise damaged(source, f"{file.name} has {count} records, {file.records} were written")


def open_backup_store(address: str) -> ArchiveStore:
    """Store of a folder's path, or of a URL; only their owner reads its files. BackupError: it names none."""
    try:
        location = parse_store(address) if "://" in address else Path(address)
    except InvalidParameters as error:
        raise BackupError(f"{error}. What to do: name a folder, file:///folder or s3://bucket/prefix") from error
    # It has everybody's payloads, and the endpoints' URLs with their passwords.
    return FolderStore(location, is_private=True) if isinstance(location, Path) else BucketStore(*location)
