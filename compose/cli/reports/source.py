"""Sources of the command line's reports: a gateway over HTTP, or the projection's database."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.durations import iso
from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.exit_codes import CommandError, Exit
from backbeat.compose.cli.options import setting
from backbeat.schemas.requests.decoding import from_json
from backbeat.transport.http_words import PERSON_HEADER

if TYPE_CHECKING:
    from sqlalchemy import Connection as DatabaseConnection

    from backbeat.gateway.api.shapes.reports import Activities, Daily, Summary

T = TypeVar("T")

#: Header of the gateway's responses: their age at most.
_STALE_HEADER = "X-backbeat-stale-seconds"

database_option = setting(
    "--database-url",
    "Ask the projection's database, not a gateway: postgresql://USER@HOST/DATABASE or sqlite:///FILE.",
    metavar="URL",
)


class Source(Protocol):
    """A source of reports."""

    #: Seconds that the last report may be older than the newest writes; 0: it is not; None: not projection_facts.
    stale_seconds: float | None

    def summary(self) -> Summary:
        """The console report."""

    def activities(self, seconds: float) -> Activities:
        """Activities at work, and their outcomes in the last seconds."""

    def daily(self, since: int, until: int, stuck_hours: float) -> Daily:
        """The report of a day, in milliseconds since the epoch."""

    def names(self) -> Mapping[str, str]:
        """The client applications' names by their ids."""


def source(connection: Connection, database_url: str | None) -> Source:
    """The database where one is named, else the gateway."""
    return DatabaseSource(connection, database_url) if database_url else GatewaySource(connection)


@dataclass
class GatewaySource:
    """Asks a gateway."""

    connection: Connection
    stale_seconds: float | None = None
    _headers: dict[str, str] | None = None

    def summary(self) -> Summary:
        """The console report."""
        from backbeat.gateway.api.shapes.reports import Summary

        return self._get("/reports/summary", Summary)

    def activities(self, seconds: float) -> Activities:
        """Activities at work, and their outcomes in the last seconds."""
        from backbeat.gateway.api.shapes.reports import Activities

        return self._get("/reports/activities", Activities, seconds=seconds)

    def daily(self, since: int, until: int, stuck_hours: float) -> Daily:
        """The report of a day."""
        from backbeat.gateway.api.shapes.reports import Daily

        return self._get("/reports/daily", Daily, since=iso(since), until=iso(until), stuck_hours=stuck_hours)

    def names(self) -> Mapping[str, str]:
        """The client applications' names by their ids."""
        return {user["id"]: user["name"] for user in self._get("/users", list[dict[str, str]])}

    def _get(self, path: str, kind: type[T], **query: object) -> T:
        if self._headers is None:
            self._headers = _credentials(self.connection)
        url = f"{self.connection.gateway}{path}?{urllib.parse.urlencode(query)}"
        if not url.startswith(("http://", "https://")):
            raise SetupError(f"--gateway is {self.connection.gateway}. What to do: give http://HOST:PORT.")
        request = urllib.request.Request(url, headers=self._headers)  # noqa: S310 - looked at above
        try:
            with urllib.request.urlopen(request, timeout=self.connection.timeout_seconds) as response:  # noqa: S310 - as above
                self.stale_seconds = float(response.headers.get(_STALE_HEADER) or 0)
                return from_json(response.read(), kind)
        except urllib.error.HTTPError as error:
            raise _refused(error, self.connection.gateway) from error
        except (OSError, msgspec.DecodeError) as error:
            raise CommandError(
                f"The gateway {self.connection.gateway} cannot be asked: {getattr(error, 'reason', None) or error}. "
                "What to do: see that it runs and that --gateway names it; or name its database (--database-url).",
                Exit.UNREACHABLE,
            ) from error


def _refused(error: urllib.error.HTTPError, gateway: str) -> CommandError:
    with error:
        text = error.read().decode(errors="replace")
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        message = f"HTTP {error.code}"
    match error.code:
        case 401:
            return CommandError(f"The gateway {gateway} asks for a token. What to do: give --client and --token.")
        case 404:
            return CommandError(f"The gateway {gateway} knows no reports: is it older than this program?")
        case 503:
            return CommandError(f"The gateway {gateway}: {message}", Exit.UNREACHABLE)
        case _:
            return CommandError(f"The gateway {gateway}: {message}")


def _credentials(connection: Connection) -> dict[str, str]:
    """Headers for a gateway that asks for tokens at every call: the caller's id, and its token."""
    if connection.token is None:
        return {}
    if connection.person is not None:
        of_client = {"Client-Id": connection.client} if connection.client else {}
        return {**of_client, PERSON_HEADER: connection.person, "Authorization": f'Token token="{connection.token}"'}
    try:
        client_id = str(uuid.UUID(connection.client))
    except ValueError:
        client_id = _id_of(connection)
    return {"Client-Id": client_id, "Authorization": f'Token token="{connection.token}"'}


def _id_of(connection: Connection) -> str:
    from backbeat.compose.cli.user.client import find_client
    from backbeat.schemas.kafka.client_registry import ClientRegistry

    if connection.only_gateway:
        raise SetupError("--client is a name. What to do: give its id, since only --gateway is named.")
    with ClientRegistry(connection.bootstrap_servers) as registry:
        return find_client(registry, connection.client).id


class DatabaseSource:
    """Reads the projection's database, whether a gateway runs or not: its reports are as old as the database is."""

    def __init__(self, connection: Connection, database_url: str) -> None:
        from backbeat.gateway.projection.storage.database import open_engine, parse_url

        self._connection = connection
        self._url = parse_url(database_url)
        if self._url.drivername == "sqlite" and not Path(str(self._url.database)).exists():
            raise SetupError(f"There is no projection in {self._url.database}. What to do: name a gateway's database.")
        self._engine = open_engine(self._url)
        self.stale_seconds: float | None = None

    def summary(self) -> Summary:
        """The console report."""
        from backbeat.gateway.projection.reading import reports

        return self._ask(reports.summary)

    def activities(self, seconds: float) -> Activities:
        """Activities at work, and their outcomes in the last seconds."""
        from backbeat.gateway.projection.reading import reports

        return self._ask(lambda connection: reports.activities(connection, seconds, closed=False))

    def daily(self, since: int, until: int, stuck_hours: float) -> Daily:
        """The report of a day."""
        from backbeat.gateway.projection.reading import reports

        return self._ask(lambda connection: reports.daily(connection, since, until, stuck_hours))

    def names(self) -> Mapping[str, str]:
        """The client applications' names by their ids; none where there is no Kafka to ask."""
        from backbeat.schemas.kafka.client_registry import ClientRegistry

        if self._connection.only_gateway:
            return {}
        with ClientRegistry(self._connection.bootstrap_servers) as registry:
            return {client.id: client.name for client in registry.all()}

    def _ask(self, read: Callable[[DatabaseConnection], T]) -> T:
        from backbeat.gateway.projection import ProjectionUnavailable
        from backbeat.gateway.projection.storage import facts, tables
        from backbeat.gateway.projection.storage.database import explained, shown

        with explained(self._url), self._engine.begin() as connection:
            projection_facts = facts.read_facts(connection)
            if not projection_facts.whole or projection_facts.schema_version != tables.SCHEMA_VERSION:
                raise ProjectionUnavailable(
                    f"The projection in {shown(self._url)} is not whole. What to do: see `backbeat projection status`."
                )
            self.stale_seconds = max(0, facts.now_ms() - projection_facts.current_at) / 1000
            return read(connection)
