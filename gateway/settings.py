"""Settings of a gateway process in one frozen struct; every limit with its unit."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from backbeat.gateway.webhooks.networks import EVERYWHERE, EndpointNetworks

#: A file of this name in the data directory takes the gateway out of rotation.
OUT_OF_ROTATION = "out-of-rotation"


class TokenFor(enum.Enum):
    """Calls that require the caller's token."""

    NONE = "none"
    #: Writes such as signals, decisions, limits, schedules, jobs and policies of retention.
    WRITES = "writes"
    #: Every call except health and heartbeat.
    ALL = "all"


class Ui(enum.Enum):
    """Web console of a gateway."""

    OFF = "off"
    #: Beside the API.
    ON = "on"
    #: Without the API: the console, health and metrics.
    ONLY = "only"


class UiLogin(enum.Enum):
    """Way into the console."""

    #: Everybody is an operator; only where the gateway listens on loopback.
    NONE = "none"
    #: A person's name and token, or a client's.
    TOKEN = "token"  # noqa: S105 - the word of a setting


@dataclass(frozen=True)
class SavedView:
    """View of the console that a team keeps: a link on every page."""

    name: str
    #: Path of a page below `/ui/`, with its query.
    path: str


@dataclass(frozen=True, kw_only=True)
class UiSettings:
    """Settings of the web console."""

    #: Name of the installation, in a band on every page; empty: no band.
    name: str = ""
    #: Colour of that band.
    colour: str = "grey"
    #: True: nothing can be changed in the console.
    read_only: bool = False
    login: UiLogin = UiLogin.TOKEN
    #: Host names that the console answers to, beside loopback names and addresses.
    hosts: tuple[str, ...] = ()
    #: Header in which a proxy says who it has let in; empty: none does.
    user_header: str = ""
    #: Networks of proxies that are believed, such as 10.0.0.0/8.
    trusted_proxies: tuple[str, ...] = ()
    #: File of the secret that sessions are signed with, the same for all gateways; None: a new one at each start.
    secret_file: Path | None = None
    #: URL of the endpoint that decodes payloads for browsers (`backbeat codec serve`); None: there is none.
    codec_url: str | None = None
    #: Links to other places on the pages of nodes and workflows: names, and URLs with words in braces.
    links: tuple[tuple[str, str], ...] = ()
    #: Views of the team, in their order.
    views: tuple[SavedView, ...] = ()
    #: Folder in which `backbeat drill` keeps its runs; None: no drills are shown.
    drills: Path | None = None
    #: Topologies of installations that operators may run drills on, and `here`: one that is started for the run.
    drill_topologies: tuple[Path, ...] = ()
    #: Key of which the hosts of these installations have a copy; None: none has one.
    drill_key_file: Path | None = None


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """Settings of one gateway process."""

    bootstrap_servers: str = "127.0.0.1:9092"
    http_host: str = "127.0.0.1"
    http_port: int = 9292
    #: PEM of the certificate and its key (not encrypted) to serve HTTPS with; None: HTTP.
    http_certificate_file: Path | None = None
    http_key_file: Path | None = None
    #: Directory of the SQLite projection and of the file that takes the gateway out of rotation.
    data_dir: Path = Path(".backbeat/gateway")
    #: Database of the projection, as SQLAlchemy has it; None: SQLite in the data directory.
    database_url: str | None = None
    require_auth_token: TokenFor = TokenFor.NONE
    #: Timeout of an endpoint's answer to a webhook.
    endpoint_timeout_seconds: float = 60.0
    #: Networks that endpoints may be in.
    endpoint_networks: EndpointNetworks = EVERYWHERE
    #: Time after which a webhook without a connection or an answer fails.
    connection_error_wait_seconds: float = 30.0
    #: Timeout of the engine's replies.
    answer_seconds: float = 10.0
    #: Interval of the log of queue sizes; 0: never.
    queue_log_seconds: float = 300.0
    #: URL of the archives of removed workflows (docs/how-to/retention.md); None: this gateway writes none.
    archive_to: str | None = None
    #: Interval of the query for workflows to archive.
    archive_poll_seconds: float = 5.0
    #: Consumer group of the engines, whose lag is logged.
    application_id: str = "backbeat"
    #: Largest request body: a payload of PAYLOAD_BYTES_MAX, and the JSON around and inside it.
    body_bytes_max: int = 12 * 1024 * 1024
    #: Calls of one client that are worked on at once; more wait for their turn.
    client_calls_max: int = 128
    #: Calls of one client that wait; more are refused with 429.
    client_waiting_max: int = 1_000
    #: Bytes of the bodies of one client's calls that are worked on.
    client_bytes_max: int = 64 * 1024 * 1024
    #: Longest wait of a search for the newest writes.
    freshen_seconds: float = 2.0
    #: Time that calls in progress get when the gateway is stopped.
    stop_seconds: float = 5.0
    #: An event loop that does not respond for this long ends the process.
    loop_timeout_seconds: float = 30.0
    #: json, text, or auto: text at a terminal, JSON elsewhere.
    log_format: str = "auto"
    #: Web console; off here, since whoever runs a gateway in a program rarely wants one.
    ui: Ui = Ui.OFF
    console: UiSettings = UiSettings()

    @property
    def address(self) -> str:
        """URL that is listened on."""
        scheme = "http" if self.http_certificate_file is None else "https"
        return f"{scheme}://{self.http_host}:{self.http_port}"

    @property
    def projection_url(self) -> str:
        """Database URL of the projection."""
        return self.database_url or f"sqlite:///{self.data_dir / 'projection.sqlite'}"
