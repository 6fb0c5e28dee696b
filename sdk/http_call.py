"""One call of a gateway's HTTP API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One call."""

    method: str
    path: str
    body: bytes | None = None
    query: Mapping[str, str] | None = None
