"""Kafka TLS/SASL settings for all clients.

An address, `kafka-1:9092,kafka-2:9092`, is passed on by every caller. Its security goes with it (`Brokers`, made by the
command line of its options), or comes from the environment (`KafkaSecurity.of`), which is all that a service or worker
needs. `connection` makes librdkafka's settings of both, `ssl_context` those of aiokafka.

Variables and their meanings: docs/how-to/deployment.md, "Kafka with TLS and passwords".
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Self

#: Prefix of the environment's variables: it and a field's name.
PREFIX = "BACKBEAT_KAFKA_"
#: Environment of a process whose Kafka is this machine's own, whatever the security of another.
IN_THE_CLEAR = {f"{PREFIX}SECURITY_PROTOCOL": "PLAINTEXT"}

_FILES = ("ca_file", "certificate_file", "key_file")


class SecurityError(ValueError):
    """Invalid security settings; the text says why and what to do."""


class Protocol(Enum):
    """Security protocol of a broker's listener, by Kafka's names."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"

    @property
    def encrypts(self) -> bool:
        """True for TLS."""
        return self in {Protocol.SSL, Protocol.SASL_SSL}

    @property
    def authenticates(self) -> bool:
        """True for SASL."""
        return self in {Protocol.SASL_PLAINTEXT, Protocol.SASL_SSL}


class Mechanism(Enum):
    """SASL mechanism, by SASL's names."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


@dataclass(frozen=True, kw_only=True)
class KafkaSecurity:
    """Security of a connection. SecurityError: settings that do not fit together, or a file that cannot be read."""

    protocol: Protocol = Protocol.PLAINTEXT
    #: PEM of the authorities that sign the brokers' certificates; None: those that the system trusts.
    ca_file: Path | None = None
    #: PEM of this client's own certificate and its key (not encrypted), where the brokers require one.
    certificate_file: Path | None = None
    key_file: Path | None = None
    mechanism: Mechanism = Mechanism.SCRAM_SHA_512
    user: str = ""
    password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.protocol.authenticates and not (self.user and self.password):
            raise SecurityError(
                f"Kafka by {self.protocol.value} needs a user and a password. What to do: set {PREFIX}USER, and "
                f"{PREFIX}PASSWORD_FILE or {PREFIX}PASSWORD."
            )
        if (self.certificate_file is None) != (self.key_file is None):
            raise SecurityError(
                f"a client's certificate and its key belong together. What to do: set both {PREFIX}CERTIFICATE_FILE "
                f"and {PREFIX}KEY_FILE."
            )
        if self.protocol.encrypts:
            for path in (self.ca_file, self.certificate_file, self.key_file):
                if path is not None:
                    _read(path)

    @classmethod
    def of(cls, variables: Mapping[str, str | None]) -> Self:
        """Settings by variable names without `BACKBEAT_KAFKA_`; empty values count as unset.

        The default protocol follows from the rest: SASL_SSL with a user, SSL with a certificate, else PLAINTEXT. So no
        password goes over an unencrypted connection unless that protocol was named.
        """
        values = {name: value for name, value in variables.items() if value}
        protocol = _member(Protocol, "SECURITY_PROTOCOL", values.get("SECURITY_PROTOCOL") or _protocol_for(values))
        if protocol is Protocol.PLAINTEXT:
            return cls()
        password = values.get("PASSWORD", "")
        if "PASSWORD_FILE" in values:
            password = _read(Path(values["PASSWORD_FILE"])).decode().rstrip("\r\n")
        paths = {name: Path(values[name.upper()]) for name in _FILES if name.upper() in values}
        mechanism = _member(Mechanism, "SASL_MECHANISM", values.get("SASL_MECHANISM", Mechanism.SCRAM_SHA_512.value))
        return cls(protocol=protocol, mechanism=mechanism, user=values.get("USER", ""), password=password, **paths)

    @classmethod
    def of_environment(cls) -> Self:
        """Settings of the environment."""
        return cls.of({name.removeprefix(PREFIX): os.environ[name] for name in os.environ if name.startswith(PREFIX)})

    def librdkafka(self) -> dict[str, Any]:
        """Settings of librdkafka's clients; empty for PLAINTEXT."""
        if self.protocol is Protocol.PLAINTEXT:
            return {}
        settings: dict[str, Any] = {"security.protocol": self.protocol.value}
        if self.protocol.encrypts:
            paths = {
                "ssl.ca.location": self.ca_file,
                "ssl.certificate.location": self.certificate_file,
                "ssl.key.location": self.key_file,
            }
            settings |= {name: str(path) for name, path in paths.items() if path is not None}
        if self.protocol.authenticates:
            settings |= {
                "sasl.mechanism": self.mechanism.value,
                "sasl.username": self.user,
                "sasl.password": self.password,
            }
        return settings

    def aiokafka(self) -> dict[str, Any]:
        """Settings of aiokafka's clients and connections. SecurityError."""
        return {
            "security_protocol": self.protocol.value,
            "ssl_context": self.ssl_context(),
            "sasl_mechanism": self.mechanism.value,
            "sasl_plain_username": self.user,
            "sasl_plain_password": self.password,
        }

    def ssl_context(self) -> ssl.SSLContext | None:
        """Context of Python's own TLS; None: not encrypted."""
        if not self.protocol.encrypts:
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context


class Brokers(str):
    """Bootstrap servers with their own security, instead of the environment's."""

    __slots__ = ("security",)

    security: KafkaSecurity

    def __new__(cls, servers: str, security: KafkaSecurity = KafkaSecurity()) -> Self:
        """Join bootstrap servers and security."""
        self = super().__new__(cls, servers)
        self.security = security
        return self


def security_of(bootstrap_servers: str) -> KafkaSecurity:
    """Security of an address: its own, else the environment's. SecurityError."""
    return bootstrap_servers.security if isinstance(bootstrap_servers, Brokers) else KafkaSecurity.of_environment()


#: Settings of clients that somebody waits for: the library begins its first connection half of this interval after the
#: client was made (its default costs 50 ms), and looks for a broker that is back each second.
CONNECT_AT_ONCE = {"reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 1_000}


def connection(bootstrap_servers: str) -> dict[str, Any]:
    """Settings of a librdkafka client for these brokers. SecurityError."""
    return {"bootstrap.servers": str(bootstrap_servers), **security_of(bootstrap_servers).librdkafka()}


def _protocol_for(values: Mapping[str, str]) -> str:
    if "USER" in values:
        return "SASL_SSL"
    return "SSL" if {name.upper() for name in _FILES} & values.keys() else "PLAINTEXT"


def _member(kind: Any, name: str, value: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(member.value for member in kind)
        raise SecurityError(f"{PREFIX}{name} is {value!r}. What to do: give one of {names}.") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SecurityError(f"{path} cannot be read: {error.strerror}. What to do: see that it is there.") from error
