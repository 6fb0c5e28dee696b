"""Stores of archives: a folder, or a bucket of S3 or a compatible service, by URL as for payloads.

    <client>/<workflow name>/<day on which the workflow was made>/<workflow id>-<when, in milliseconds>.jsonl.gz

A name follows from the workflow alone: an archive written again, after a crash, replaces the first. A later workflow of
the same subject has another time.
"""

from __future__ import annotations

import hashlib
import heapq
import io
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

from backbeat.errors import InvalidParameters, NotFound, Unavailable
from backbeat.payload.values import id_text
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.views import WorkflowView
from backbeat.stores import bucket_client, parse_store, write_whole

SUFFIX = ".jsonl.gz"
#: Bytes of a part of a name, well below what every file system takes.
_PART_BYTES_MAX = 120
_DIGEST_CHARACTERS = 16


def archive_name(client: str, workflow: WorkflowView) -> str:
    """Name of a workflow's archive in its store."""
    day = datetime.fromtimestamp(workflow.created_at / 1000, UTC).strftime("%Y-%m-%d")
    file = f"{id_text(workflow.id)}-{workflow.created_at}{SUFFIX}"
    return "/".join((name_part(client), name_part(workflow.name), day, file))


def name_part(text: str) -> str:
    """A text as one part of a path: readable, and unique for every text."""
    quoted = quote(text, safe=" ")
    if quoted.startswith("."):
        quoted = f"%2E{quoted[1:]}"
    if len(quoted) <= _PART_BYTES_MAX:
        return quoted
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{quoted[: _PART_BYTES_MAX - len(digest) - 1]}~{digest}"


class ArchiveStore(Protocol):
    """Store of archives by name. Used in threads."""

    def put(self, name: str, file: IO[bytes]) -> str:
        """Store a file, atomically, replacing one of that name; its URL. Unavailable."""

    def open(self, name: str) -> IO[bytes]:
        """A file's content. NotFound, Unavailable."""

    def names(self, under: str = "") -> Iterator[str]:
        """Names of all archives, or of those in a folder, in order. Unavailable."""

    def children(self, under: str, count: int, after: str = "") -> list[str]:
        """Names of archives and folders right in a folder, `count` at most, in order, behind `after`. Unavailable.

        Those of folders end with `/`.
        """


def open_archive_store(url: str) -> ArchiveStore:
    """Store of a URL: `file:///folder` or `s3://bucket/prefix?endpoint=http://…&region=…`."""
    location = parse_store(url)
    if isinstance(location, Path):
        return FolderStore(location)
    return BucketStore(*location)


def split_address(address: str) -> tuple[ArchiveStore, str]:
    """Store and name of an archive, from its own URL or path."""
    if "://" not in address:
        path = Path(address).absolute()
        return FolderStore(path.parent), path.name
    url = urlsplit(address)
    folder, _, name = url.path.rpartition("/")
    if not name.endswith(SUFFIX) or (url.scheme == "file" and not folder):
        expected = f"a file …{SUFFIX}"
        raise InvalidParameters(Reason.INVALID_PARAMETERS, f"{address!r} is no archive", address, expected)
    return open_archive_store(urlunsplit(url._replace(path=folder))), name


class FolderStore:
    """Archives as files of a folder."""

    def __init__(self, folder: Path, *, is_private: bool = False) -> None:
        """`is_private`: nobody but their owner reads the files and the folders that it makes."""
        self._folder = folder
        self._is_private = is_private

    def put(self, name: str, file: IO[bytes]) -> str:
        """Store a file."""
        path = self._folder / name
        try:
            # mkdir(parents=True) gives its mode to the last folder only.
            missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
            for folder in reversed(missing):
                folder.mkdir(0o700 if self._is_private else 0o777, exist_ok=True)
            write_whole(path, file, 0o600 if self._is_private else 0o666)
        except OSError as error:
            raise Unavailable(f"The folder {self._folder} does not take an archive: {error}") from error
        return path.absolute().as_uri()

    def open(self, name: str) -> IO[bytes]:
        """Open a file."""
        path = self._folder / name
        try:
            return path.open("rb")
        except FileNotFoundError as error:
            raise NotFound(Reason.NOT_FOUND, f"There is no file {path}", "nothing", "an archive") from error
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error}") from error

    def names(self, under: str = "") -> Iterator[str]:
        """Names in order."""
        if not self._folder.is_dir():
            raise Unavailable(f"There is no folder {self._folder}")
        paths = (self._folder / under).rglob(f"*{SUFFIX}")
        yield from sorted(path.relative_to(self._folder).as_posix() for path in paths)

    def children(self, under: str, count: int, after: str = "") -> list[str]:
        """Names right in a folder, in order."""
        try:
            with os.scandir(self._folder / under) as entries:
                names = (
                    f"{entry.name}/" if entry.is_dir() else entry.name
                    for entry in entries
                    if entry.is_dir() or entry.name.endswith(SUFFIX)
                )
                return heapq.nsmallest(count, (name for name in names if name > after))
        except FileNotFoundError:
            # Nothing was archived yet.
            return []
        except OSError as error:
            raise Unavailable(f"The folder {self._folder} cannot be read: {error}") from error


class BucketStore:
    """Archives as objects of a bucket."""

    def __init__(self, bucket: str, prefix: str, endpoint: str | None = None, region: str | None = None) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._client, self._errors = bucket_client(endpoint, region)

    def put(self, name: str, file: IO[bytes]) -> str:
        """Store a file. A large one is uploaded in parts, and exists once the last one is there."""
        key = self._prefix + name
        try:
            self._client.upload_fileobj(file, self._bucket, key, ExtraArgs={"ContentType": "application/gzip"})
        except self._errors as error:
            raise Unavailable(f"The bucket s3://{self._bucket} does not take an archive: {error}") from error
        return f"s3://{self._bucket}/{key}"

    def open(self, name: str) -> IO[bytes]:
        """Download a file."""
        key = self._prefix + name
        try:
            return io.BytesIO(self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read())
        except self._client.exceptions.NoSuchKey as error:
            url = f"s3://{self._bucket}/{key}"
            raise NotFound(Reason.NOT_FOUND, f"There is no {url}", "nothing", "an archive") from error
        except self._errors as error:
            raise Unavailable(f"The bucket s3://{self._bucket} cannot be read: {error}") from error

    def names(self, under: str = "") -> Iterator[str]:
        """Names in order, a page at a time."""
        prefix = self._prefix + (f"{under}/" if under else "")
        pages: Any = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        try:
            for page in pages:
                for item in page.get("Contents", ()):
                    if item["Key"].endswith(SUFFIX):
                        yield item["Key"][len(self._prefix) :]
        except self._errors as error:
            raise Unavailable(f"The bucket s3://{self._bucket} cannot be listed: {error}") from error

    def children(self, under: str, count: int, after: str = "") -> list[str]:
        """Names right in a folder, in order."""
        prefix = self._prefix + (f"{under}/" if under else "")
        try:
            answer = self._client.list_objects_v2(
                Bucket=self._bucket,
                Prefix=prefix,
                Delimiter="/",
                MaxKeys=count,
                # Folders end with the character behind the last of them, so that none comes again.
                StartAfter=prefix + (f"{after[:-1]}0" if after.endswith("/") else after),
            )
        except self._errors as error:
            raise Unavailable(f"The bucket s3://{self._bucket} cannot be listed: {error}") from error
        folders = [item["Prefix"] for item in answer.get("CommonPrefixes", ())]
        files = [item["Key"] for item in answer.get("Contents", ()) if item["Key"].endswith(SUFFIX)]
        return sorted(name[len(prefix) :] for name in (*folders, *files))
