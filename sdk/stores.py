"""Stores of payloads that are too large for a record: a folder, or a bucket of an S3-compatible service.

Content addressed: a payload's name is its SHA-256, so that writing it again changes nothing and reading it can be
checked. Backbeat deletes nothing there: keep payloads as long as their workflows (in S3 a lifecycle rule does it).
"""

from __future__ import annotations

import io
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from backbeat.errors import CodecError, InvalidParameters, Unavailable
from backbeat.schemas.messages.replies import Reason

_DIGEST = re.compile(r"[0-9a-f]{64}")
_WANTED = "file:///folder or s3://bucket/prefix?endpoint=http://host:port&region=…"


class Store(Protocol):
    """Keeps payloads by their SHA-256. Used from several threads at once."""

    def put(self, digest: str, text: bytes) -> str:
        """Keep a payload, and give its URL, for people. Unavailable where that cannot be done now."""

    def get(self, digest: str) -> bytes:
        """A payload. CodecError where there is none, Unavailable where the store cannot be reached."""


def open_store(url: str) -> Store:
    """The store that a URL names: `file:///folder` or `s3://bucket/prefix?endpoint=http://…&region=…`.

    Who may use a bucket is said as everywhere with boto3: environment, profile or the machine's role. Needs the extra
    `s3`.
    """
    place = parse_store(url)
    return FolderStore(place) if isinstance(place, Path) else BucketStore(*place)


def parse_store(url: str) -> Path | tuple[str, str, str | None, str | None]:
    """Parts of a store's URL: a folder; or bucket, prefix, endpoint and region. InvalidParameters."""
    parts = urlsplit(url)
    match parts.scheme:
        case "file" if parts.path not in {"", "/"} and parts.netloc in {"", "localhost"}:
            return Path(unquote(parts.path))
        case "s3" if parts.netloc:
            options = dict(parse_qsl(parts.query))
            unknown = sorted(set(options) - {"endpoint", "region"})
            if not unknown:
                return parts.netloc, parts.path.strip("/"), options.get("endpoint"), options.get("region")
    raise InvalidParameters(Reason.INVALID_PARAMETERS, f"{url!r} is no URL of a store; {_WANTED} is", url, _WANTED)


def _place(digest: str) -> str:
    """Two levels: a folder with a million entries is slow to list."""
    if _DIGEST.fullmatch(digest) is None:
        raise CodecError(f"{digest[:80]!r} is no SHA-256: the reference to a stored payload is damaged")
    return f"{digest[:2]}/{digest}"


class FolderStore:
    """Payloads as files in a folder that every party sees, on a network drive for example."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, digest: str, text: bytes) -> str:
        """Keep a payload: whole under its name, or not at all, whatever happens meanwhile."""
        path = self._folder / _place(digest)
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, io.BytesIO(text))
        except OSError as error:
            raise Unavailable(f"The store {self._folder} does not take a payload: {error}") from error
        return path.absolute().as_uri()

    def get(self, digest: str) -> bytes:
        """A payload."""
        path = self._folder / _place(digest)
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise CodecError(f"{path} is not there: was it deleted, or is that another folder here?") from error
        except OSError as error:
            raise Unavailable(f"The store {self._folder} cannot be read: {error}") from error


def write_whole(path: Path, content: IO[bytes], mode: int = 0o666) -> None:
    """Write a file that is there whole, in place of an older one, or not at all; `mode`: below the umask. OSError."""
    draft = path.with_name(f".{uuid.uuid4().hex}")
    try:
        with open(draft, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def bucket_client(endpoint: str | None, region: str | None) -> tuple[Any, tuple[type[Exception], ...]]:
    """A client of S3, or of a service at an address of its own, and the errors that it raises. ImportError."""
    try:
        import boto3  # noqa: PLC0415 - an extra: only who stores there has it
        from boto3.exceptions import Boto3Error  # noqa: PLC0415 - as above
        from botocore import exceptions  # noqa: PLC0415 - as above
        from botocore.config import Config  # noqa: PLC0415 - as above
    except ImportError as error:
        raise ImportError('A store in a bucket needs `pip install "backbeat[s3]"`') from error
    # A client may be used by several threads. Services at an address of their own seldom have a name per bucket.
    client: Any = boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=region or ("us-east-1" if endpoint else None),
        config=Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": 4},
            s3={"addressing_style": "path"} if endpoint else None,
        ),
    )
    return client, (exceptions.BotoCoreError, exceptions.ClientError, Boto3Error)


class BucketStore:
    """Payloads as objects in a bucket of S3 or of a service that speaks as it does."""

    def __init__(self, bucket: str, prefix: str, endpoint: str | None = None, region: str | None = None) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._client, self._errors = bucket_client(endpoint, region)

    def put(self, digest: str, text: bytes) -> str:
        """Keep a payload; S3 has it whole or not at all."""
        key = self._prefix + _place(digest)
        try:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=text, ContentType="application/json")
        except self._errors as error:
            raise Unavailable(f"The store s3://{self._bucket} does not take a payload: {error}") from error
        return f"s3://{self._bucket}/{key}"

    def get(self, digest: str) -> bytes:
        """A payload."""
        key = self._prefix + _place(digest)
        try:
            text: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except self._client.exceptions.NoSuchKey as error:
            raise CodecError(f"s3://{self._bucket}/{key} is not there: was it deleted?") from error
        except self._errors as error:
            raise Unavailable(f"The store s3://{self._bucket} cannot be read: {error}") from error
        return text
