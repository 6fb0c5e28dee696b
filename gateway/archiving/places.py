"""Where archives lie: a folder, or a bucket of S3 or of a service that speaks as it does; by URL as payloads do.

    <client>/<workflow name>/<day on which the workflow was made>/<workflow id>-<when, in milliseconds>.jsonl.gz

A name follows from the workflow alone: one that is archived again, after a crash, takes the place of the first. A later
workflow of the same subject has another time.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

from backbeat.errors import InvalidParameters, NotFound, Unavailable
from backbeat.gateway.http.presentation import id_text
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.views import WorkflowView
from backbeat.stores import bucket_client, parse_store, write_whole

SUFFIX = ".jsonl.gz"
#: Bytes of a part of a name, the longest that every file system takes left aside.
_PART_BYTES_MAX = 120
_DIGEST_CHARACTERS = 16


def archive_name(client: str, workflow: WorkflowView) -> str:
    """The name of a workflow's archive in its place."""
    day = datetime.fromtimestamp(workflow.created_at / 1000, UTC).strftime("%Y-%m-%d")
    file = f"{id_text(workflow.id)}-{workflow.created_at}{SUFFIX}"
    return "/".join((part_of_name(client), part_of_name(workflow.name), day, file))


def part_of_name(text: str) -> str:
    """A text as one part of a path: readable, and another one for every text."""
    quoted = quote(text, safe=" ")
    if quoted.startswith("."):
        quoted = f"%2E{quoted[1:]}"
    if len(quoted) <= _PART_BYTES_MAX:
        return quoted
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{quoted[: _PART_BYTES_MAX - len(digest) - 1]}~{digest}"


class Place(Protocol):
    """Keeps archives by their names. Used in threads."""

    def put(self, name: str, file: IO[bytes]) -> str:
        """Keep a file, whole or not at all, in place of one of that name; its URL. Unavailable."""

    def open(self, name: str) -> IO[bytes]:
        """A file. NotFound, Unavailable."""

    def names(self, under: str = "") -> Iterator[str]:
        """The names of all archives, or of those under a folder, in order. Unavailable."""


def open_place(url: str) -> Place:
    """The place that a URL names: `file:///folder` or `s3://bucket/prefix?endpoint=http://…&region=…`."""
    found = parse_store(url)
    if isinstance(found, Path):
        return Folder(found)
    return Bucket(*found)


def split_address(address: str) -> tuple[Place, str]:
    """A place and the name in it, from an archive's own URL or path."""
    if "://" not in address:
        path = Path(address).absolute()
        return Folder(path.parent), path.name
    parts = urlsplit(address)
    folder, _, name = parts.path.rpartition("/")
    if not name.endswith(SUFFIX) or (parts.scheme == "file" and not folder):
        wanted = f"a file …{SUFFIX}"
        raise InvalidParameters(Reason.INVALID_PARAMETERS, f"{address!r} is no archive", address, wanted)
    return open_place(urlunsplit(parts._replace(path=folder))), name


class Folder:
    """Archives as files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, file: IO[bytes]) -> str:
        """Keep a file."""
        path = self._folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, file)
        except OSError as error:
            raise Unavailable(f"The folder {self._folder} does not take an archive: {error}") from error
        return path.absolute().as_uri()

    def open(self, name: str) -> IO[bytes]:
        """A file."""
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
        found = (self._folder / under).rglob(f"*{SUFFIX}")
        yield from sorted(path.relative_to(self._folder).as_posix() for path in found)


class Bucket:
    """Archives as objects."""

    def __init__(self, bucket: str, prefix: str, endpoint: str | None = None, region: str | None = None) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._client, self._errors = bucket_client(endpoint, region)

    def put(self, name: str, file: IO[bytes]) -> str:
        """Keep a file; a large one goes in parts, and is there when the last one is."""
        key = self._prefix + name
        try:
            self._client.upload_fileobj(file, self._bucket, key, ExtraArgs={"ContentType": "application/gzip"})
        except self._errors as error:
            raise Unavailable(f"The bucket s3://{self._bucket} does not take an archive: {error}") from error
        return f"s3://{self._bucket}/{key}"

    def open(self, name: str) -> IO[bytes]:
        """A file, all of it."""
        key = self._prefix + name
        try:
            return io.BytesIO(self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read())
        except self._client.exceptions.NoSuchKey as error:
            where = f"s3://{self._bucket}/{key}"
            raise NotFound(Reason.NOT_FOUND, f"There is no {where}", "nothing", "an archive") from error
        except self._errors as error:
            raise Unavailable(f"The bucket s3://{self._bucket} cannot be read: {error}") from error

    def names(self, under: str = "") -> Iterator[str]:
        """Names in order, a page at a time."""
        prefix = self._prefix + (f"{under}/" if under else "")
        pages: Any = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        try:
            for page in pages:
                for found in page.get("Contents", ()):
                    if found["Key"].endswith(SUFFIX):
                        yield found["Key"][len(self._prefix) :]
        except self._errors as error:
            raise Unavailable(f"The bucket s3://{self._bucket} cannot be listed: {error}") from error
