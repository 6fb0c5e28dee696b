"""HTTP to a topology's own addresses: never by way of a proxy that the environment names."""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def open_directly(request: str | urllib.request.Request, timeout: float) -> Iterator[http.client.HTTPResponse]:
    """The answer to a request, to be read within. OSError: none, one that tells of an error, or one that breaks off."""
    try:
        with _opener.open(request, timeout=timeout) as response:
            yield response
    except http.client.HTTPException as error:
        # A process that is killed amid its answer.
        raise ConnectionError(f"the answer broke off: {type(error).__name__}: {error}") from error
