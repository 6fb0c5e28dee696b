"""Manifest of a backup: topics, partitions, positions, files with their checksums.

It is written last: without it there is no backup.
"""

from __future__ import annotations

import hashlib
import io

import msgspec

from backbeat.compose.backup.errors import BackupError
from backbeat.errors import NotFound
from backbeat.gateway.archiving.stores import ArchiveStore
from backbeat.schemas.requests.decoding import from_json

FORMAT = 1
NAME = "manifest.json"


class PartFile(msgspec.Struct, frozen=True):
    """A file of the backup."""

    name: str
    records: int
    bytes: int
    sha256: str


class PartitionCopy(msgspec.Struct, frozen=True):
    """The records of one partition, from one offset on, below another."""

    partition: int
    first: int
    end: int
    records: int
    files: list[PartFile]


class TopicCopy(msgspec.Struct, frozen=True):
    """The records of one topic."""

    name: str
    topic_id: str
    partitions: list[PartitionCopy]


class Manifest(msgspec.Struct, frozen=True):
    """A whole backup."""

    #: of the files
    format: int
    #: version of Backbeat that made it
    version: str
    #: ISO 8601
    made_at: str
    #: of the commands
    partitions: int
    #: partition -> offset of the commands to which its state has come; a partition without state is not there
    positions: dict[int, int]
    #: partition -> its meta record as of there
    metas: dict[int, bytes]
    topics: list[TopicCopy]

    def topic(self, name: str) -> TopicCopy | None:
        """A topic's copy."""
        return next((topic for topic in self.topics if topic.name == name), None)

    @property
    def records_count(self) -> int:
        """Records of all topics."""
        return sum(partition.records for topic in self.topics for partition in topic.partitions)

    @property
    def bytes_count(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for topic in self.topics for partition in topic.partitions for file in partition.files)


class _Document(msgspec.Struct):
    sha256: str  #: of the manifest's text
    manifest: msgspec.Raw


def is_there(store: ArchiveStore) -> bool:
    """True if the store has a whole backup."""
    try:
        store.open(NAME).close()
    except NotFound:
        return False
    return True


def write_manifest(store: ArchiveStore, manifest: Manifest) -> str:
    """Write the manifest; its URL."""
    text = msgspec.json.encode(manifest)
    document = _Document(hashlib.sha256(text).hexdigest(), msgspec.Raw(text))
    return store.put(NAME, io.BytesIO(msgspec.json.encode(document)))


def read_manifest(store: ArchiveStore, source: str) -> Manifest:
    """Read the manifest. BackupError: there is none, or it is damaged, or a newer Backbeat's."""
    try:
        with store.open(NAME) as file:
            text = file.read()
    except NotFound as error:
        raise BackupError(
            f"{source} holds no backup: there is no {NAME}. What to do: name the folder that `backbeat backup` wrote "
            "to; one whose backup did not end has no manifest, and is of no use"
        ) from error
    try:
        document = from_json(text, _Document)
        if hashlib.sha256(document.manifest).hexdigest() != document.sha256:
            raise damaged(source, f"{NAME} has another checksum")
        file_format = from_json(document.manifest, dict[str, msgspec.Raw]).get("format")
        if file_format is not None and msgspec.json.decode(file_format) != FORMAT:
            raise BackupError(
                f"the backup {source} has the format {bytes(file_format).decode()}, this Backbeat knows {FORMAT}. What "
                "to do: restore it by the version that made it, or a later one"
            )
        return from_json(document.manifest, Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(source, f"{NAME} cannot be read ({error})") from error


def damaged(source: str, reason: str) -> BackupError:
    """Error of a backup that is not as it was written."""
    return BackupError(
        f"the backup {source} is damaged: {reason}. What to do: take another copy of it, or an earlier backup; nothing "
        "was written to Kafka"
    )
