"""What a gateway process is told from outside, in one frozen struct; every limit with its unit."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

#: A file of this name in the data directory takes the gateway out of rotation.
OUT_OF_ROTATION = "out-of-rotation"


class TokenFor(enum.Enum):
    """Which calls ask for the caller's token."""

    NONE = "none"
    #: signals and decisions, as in the original
    WRITES = "writes"
    #: every call but health and heartbeat
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """Settings of one gateway process."""

    bootstrap_servers: str = "127.0.0.1:9092"
    http_host: str = "127.0.0.1"
    http_port: int = 9292
    #: where the SQLite projection lives, and where a file takes the gateway out of rotation
    data_dir: Path = Path(".backbeat/gateway")
    #: of the projection, as SQLAlchemy has it; None: SQLite in the data directory
    database_url: str | None = None
    require_auth_token: TokenFor = TokenFor.NONE
    #: how long a client's endpoint may take to answer a webhook
    endpoint_timeout_seconds: float = 60.0
    #: how long a webhook that gets no connection, or no answer, waits before it counts as failed
    connection_error_wait_seconds: float = 30.0
    #: how long a call waits for the engine
    answer_seconds: float = 10.0
    #: how often queue sizes are logged; 0: never
    queue_log_seconds: float = 300.0
    #: where archives of workflows go before their removal (docs/how-to/retention.md); None: this gateway writes none
    archive_to: str | None = None
    #: how often it is looked what waits to be archived
    archive_poll_seconds: float = 5.0
    #: consumer group of the engines, whose lag is logged
    application_id: str = "backbeat"
    #: the largest request body: a payload of PAYLOAD_BYTES_MAX, and what JSON needs around and inside it
    body_bytes_max: int = 12 * 1024 * 1024
    #: how long a search waits for the newest writes
    freshen_seconds: float = 2.0
    #: how long calls under way may take when the gateway is told to stop
    stop_seconds: float = 5.0
    #: an event loop that does not come round for this long ends the process
    loop_timeout_seconds: float = 30.0
    #: json, text, or auto: text at a terminal, JSON elsewhere
    log_format: str = "auto"

    @property
    def projection_url(self) -> str:
        """Where the projection is."""
        return self.database_url or f"sqlite:///{self.data_dir / 'projection.sqlite'}"
