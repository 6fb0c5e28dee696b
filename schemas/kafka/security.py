"""How one gets into a Kafka: TLS and SASL, for every client that this program makes.

Whoever connects has an address, `kafka-1:9092,kafka-2:9092`, and passes it on. How one gets in there goes with it
(`Brokers`, which the command line makes of its options), or is what the environment says (`KafkaSecurity.of`), which is
all that a service or worker needs. `connection` makes librdkafka's settings of both, `ssl_context` what aiokafka takes.

Names of variables and meanings: docs/how-to/deployment.md, "Kafka with TLS and passwords".
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Self

#: Each variable of the environment is this and the name of a field.
PREFIX = "BACKBEAT_KAFKA_"
#: The environment of a process whose Kafka is this machine's own, whatever there is to get into another.
IN_THE_CLEAR = {f"{PREFIX}SECURITY_PROTOCOL": "PLAINTEXT"}

_FILES = ("ca_file", "certificate_file", "key_file")


class SecurityError(ValueError):
    """How to get into Kafka cannot be told from what was given; the text says why and what to do."""


class Protocol(Enum):
    """What is spoken to a broker's listener, by Kafka's names."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"

    @property
    def encrypts(self) -> bool:
        """Whether it is TLS."""
        return self in {Protocol.SSL, Protocol.SASL_SSL}

    @property
    def asks_who(self) -> bool:
        """Whether it is SASL."""
        return self in {Protocol.SASL_PLAINTEXT, Protocol.SASL_SSL}


class Mechanism(Enum):
    """How a user proves to be one, by SASL's names."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


@dataclass(frozen=True, kw_only=True)
class KafkaSecurity:
    """How one gets in. SecurityError where the parts do not fit together; a file is looked at here, not at a broker."""

    protocol: Protocol = Protocol.PLAINTEXT
    #: PEM, whom the brokers' certificates must come from; None: whom the system trusts
    ca_file: Path | None = None
    #: PEM, this client's own certificate and its key (not encrypted), where the brokers ask for one
    certificate_file: Path | None = None
    key_file: Path | None = None
    mechanism: Mechanism = Mechanism.SCRAM_SHA_512
    user: str = ""
    password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.protocol.asks_who and not (self.user and self.password):
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
    def of(cls, said: Mapping[str, str | None]) -> Self:
        """From texts by the names of variables without `BACKBEAT_KAFKA_`; what is empty or missing was not said.

        Without a protocol it is what the rest needs: a user means SASL_SSL, a certificate SSL, nothing PLAINTEXT. So no
        password goes over an open line unless that was asked for by name.
        """
        given = {name: value for name, value in said.items() if value}
        protocol = _one_of(Protocol, "SECURITY_PROTOCOL", given.get("SECURITY_PROTOCOL") or _protocol_for(given))
        if protocol is Protocol.PLAINTEXT:
            return cls()
        password = given.get("PASSWORD", "")
        if "PASSWORD_FILE" in given:
            password = _read(Path(given["PASSWORD_FILE"])).decode().rstrip("\r\n")
        paths = {name: Path(given[name.upper()]) for name in _FILES if name.upper() in given}
        mechanism = _one_of(Mechanism, "SASL_MECHANISM", given.get("SASL_MECHANISM", Mechanism.SCRAM_SHA_512.value))
        return cls(protocol=protocol, mechanism=mechanism, user=given.get("USER", ""), password=password, **paths)

    @classmethod
    def of_environment(cls) -> Self:
        """What the environment says."""
        return cls.of({name.removeprefix(PREFIX): os.environ[name] for name in os.environ if name.startswith(PREFIX)})

    def librdkafka(self) -> dict[str, Any]:
        """As settings of librdkafka's clients; nothing where nothing is asked for."""
        if self.protocol is Protocol.PLAINTEXT:
            return {}
        settings: dict[str, Any] = {"security.protocol": self.protocol.value}
        if self.protocol.encrypts:
            places = {
                "ssl.ca.location": self.ca_file,
                "ssl.certificate.location": self.certificate_file,
                "ssl.key.location": self.key_file,
            }
            settings |= {name: str(path) for name, path in places.items() if path is not None}
        if self.protocol.asks_who:
            settings |= {
                "sasl.mechanism": self.mechanism.value,
                "sasl.username": self.user,
                "sasl.password": self.password,
            }
        return settings

    def ssl_context(self) -> ssl.SSLContext | None:
        """As Python's own TLS has it; None: it is not encrypted."""
        if not self.protocol.encrypts:
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context


class Brokers(str):
    """Bootstrap servers, and how one gets in there, whatever the environment says."""

    __slots__ = ("security",)

    security: KafkaSecurity

    def __new__(cls, servers: str, security: KafkaSecurity = KafkaSecurity()) -> Self:
        """Both together."""
        self = super().__new__(cls, servers)
        self.security = security
        return self


def security_of(bootstrap_servers: str) -> KafkaSecurity:
    """How one gets in there: as the address says, else as the environment does. SecurityError."""
    return bootstrap_servers.security if isinstance(bootstrap_servers, Brokers) else KafkaSecurity.of_environment()


def connection(bootstrap_servers: str) -> dict[str, Any]:
    """What each of librdkafka's clients has to be told to reach these brokers. SecurityError."""
    return {"bootstrap.servers": str(bootstrap_servers), **security_of(bootstrap_servers).librdkafka()}


def _protocol_for(given: Mapping[str, str]) -> str:
    if "USER" in given:
        return "SASL_SSL"
    return "SSL" if {name.upper() for name in _FILES} & given.keys() else "PLAINTEXT"


def _one_of(kind: Any, name: str, word: str) -> Any:
    try:
        return kind(word)
    except ValueError:
        known = ", ".join(each.value for each in kind)
        raise SecurityError(f"{PREFIX}{name} is {word!r}. What to do: give one of {known}.") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SecurityError(f"{path} cannot be read: {error.strerror}. What to do: see that it is there.") from error
