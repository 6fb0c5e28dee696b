"""Files of a Maven repository, fetched side by side into a folder: each resumed where it broke off, and checked."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from http import HTTPStatus
from pathlib import Path

import certifi
import httpx2

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.show.progress import Progress, Say
from backbeat.compose.local.jars.lock import Jar
from backbeat.compose.local.jars.repository import VARIABLE, Repository

_CONNECTIONS = 8
_ATTEMPTS_MAX = 4
_PAUSE_SECONDS_FIRST = 0.5
_TIMEOUT = httpx2.Timeout(20.0, connect=10.0)
#: Responses that another attempt may better: too many requests, and a server's own trouble.
_PASSING = {429, 500, 502, 503, 504}
_MEGABYTE = 1e6


class _PassingError(Exception):
    """A failure that another attempt may better; the text says what failed."""


class _StoppedError(Exception):
    """Another jar has failed, or somebody pressed Ctrl-C."""


class Download:
    """Download of the jars that are not in a folder yet; received parts stay for the next one."""

    def __init__(self, jars: Sequence[Jar], folder: Path, repository: Repository, say: Say) -> None:
        self._jars = jars
        self._folder = folder
        self._repository = repository
        #: Jar -> number of its bytes that are there.
        self._bytes = dict.fromkeys(jars, 0)
        self._progress = Progress("asking for the first jars", say)
        self._stopped = threading.Event()

    def run(self) -> None:
        """Fetch the jars. SetupError: a fault and what to do; OSError: of the disk."""
        # As pip does: the system's certificates, among which a company has its proxy's, and those of certifi.
        ssl_context = httpx2.create_ssl_context()
        ssl_context.load_verify_locations(certifi.where())
        with (
            httpx2.Client(
                auth=self._repository.user, follow_redirects=True, timeout=_TIMEOUT, verify=ssl_context
            ) as client,
            ThreadPoolExecutor(_CONNECTIONS) as pool,
            self._progress,
        ):
            # The largest first: the small ones fill the gaps.
            largest_first = sorted(self._jars, key=lambda jar: -jar.size)
            tasks = [pool.submit(self._fetch, client, jar) for jar in largest_first]
            try:
                for task in as_completed(tasks):
                    task.result()
            except BaseException:
                self._stopped.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _fetch(self, client: httpx2.Client, jar: Jar) -> None:
        path = self._folder / jar.name
        if jar.is_at(path):
            self._note(jar, jar.size)
            return
        part_path = path.with_name(f"{path.name}.part")
        for attempt in range(_ATTEMPTS_MAX):
            try:
                self._receive(client, jar, part_path)
            except _PassingError as error:
                if attempt == _ATTEMPTS_MAX - 1:
                    raise SetupError(f"{error}.") from error
            else:
                part_path.replace(path)
                return
            if self._stopped.wait(_PAUSE_SECONDS_FIRST * 2**attempt):
                raise _StoppedError

    def _receive(self, client: httpx2.Client, jar: Jar, part_path: Path) -> None:
        """Receive the missing bytes of a jar, and check the whole of it."""
        received = part_path.stat().st_size if part_path.exists() else 0
        if received < jar.size:
            # Not packed on the way: a range is of the file's own bytes.
            headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={received}-"} if received else {})
            url = f"{self._repository.url.rstrip('/')}/{jar.path}"
            try:
                with client.stream("GET", url, headers=headers) as response:
                    self._refuse_errors(response, jar)
                    is_partial = response.status_code == HTTPStatus.PARTIAL_CONTENT
                    self._write(response, jar, part_path, received if is_partial else 0)
            except httpx2.TransportError as error:
                raise _PassingError(self._describe(error, jar)) from error
        if not jar.is_at(part_path):
            part_path.unlink(missing_ok=True)
            raise _PassingError(
                f"{jar.name} from {self._repository.host} is not the file that kafka-jars.lock names (its SHA-256 "
                "differs). What to do: see what that repository, or a proxy on the way, makes of it"
            )

    def _write(self, response: httpx2.Response, jar: Jar, part_path: Path, received: int) -> None:
        with part_path.open("ab" if received else "wb") as file:
            for chunk in response.iter_bytes():
                if self._stopped.is_set():
                    raise _StoppedError
                # More than the whole is another file.
                if received > jar.size:
                    return
                file.write(chunk)
                received += len(chunk)
                self._note(jar, received)

    def _note(self, jar: Jar, size: int) -> None:
        self._bytes[jar] = size
        complete_count = sum(received == jar.size for jar, received in self._bytes.items())
        received, total = sum(self._bytes.values()) / _MEGABYTE, sum(jar.size for jar in self._jars) / _MEGABYTE
        self._progress.show(f"{complete_count} of {len(self._jars)} jars, {received:.1f} of {total:.1f} MB")

    def _refuse_errors(self, response: httpx2.Response, jar: Jar) -> None:
        code = response.status_code
        if response.is_success or code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        refusal = f"{self._repository.host} answers {code} {response.reason_phrase} for {jar.path}"
        if code in _PASSING:
            raise _PassingError(f"{refusal}. What to do: try again later")
        raise SetupError(
            f"{refusal}. What to do: see that it is a Maven repository that has what Maven Central has, and that it "
            f"lets you in (its URL is from {self._repository.source}; {VARIABLE} names another)."
        )

    def _describe(self, error: httpx2.TransportError, jar: Jar) -> str:
        reason = str(error) or type(error).__name__
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
            return (
                f"{self._repository.host} cannot be reached for Kafka's jars ({reason}). What to do: see that this "
                f"machine reaches it, or name a proxy (HTTPS_PROXY) or a mirror ({VARIABLE}), or bring the jars from "
                "a machine with a network (backbeat jars --help)"
            )
        received, size = self._bytes[jar] / _MEGABYTE, jar.size / _MEGABYTE
        return (
            f"the download of {jar.name} from {self._repository.host} broke off after {received:.1f} of {size:.1f} MB "
            f"({reason}). What to do: try again; it goes on from there"
        )
