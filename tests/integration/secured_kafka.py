"""A Kafka with listeners that ask who comes and encrypt, and certificates of a made-up authority."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from backbeat.compose.local.kafka import KafkaBroker
from backbeat.compose.local.ports import LOOPBACK, free_port
from backbeat.schemas.kafka.brokers import result
from backbeat.schemas.kafka.security import Brokers, KafkaSecurity, Protocol

USER, PASSWORD = "backbeat", "a password, with: signs"
_DAYS = dt.timedelta(days=2)
_JAAS = "org.apache.kafka.common.security"


class Authority:
    """Signs certificates; its own is `ca_file`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        own = self._build(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.ca_file = folder / f"{name}.pem"
        self.ca_file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _build(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAYS)
            .not_valid_after(now + _DAYS)
        )

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate for this machine's loopback, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        built = self._build(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
        place = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))])
        signed = built.add_extension(place, critical=False).sign(self._key, hashes.SHA256())
        certificate_file, key_file = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate_file, key_file


class _Broker(KafkaBroker):
    """With more listeners than the one of plain text, over which it is set up."""

    listeners: dict[str, int]
    more: dict[str, str]

    def _write_settings(self) -> Path:
        path = super()._write_settings()
        lines = path.read_text().splitlines()
        places = ",".join(f"{name}://{LOOPBACK}:{port}" for name, port in self.listeners.items())
        for number, line in enumerate(lines):
            if line.startswith(("listeners=", "advertised.listeners=")):
                lines[number] = f"{line},{places}"
            elif line.startswith("listener.security.protocol.map="):
                lines[number] = f"{line},WHO:SASL_SSL,CERTIFIED:SSL"
        path.write_text("\n".join([*lines, *(f"{key}={value}" for key, value in self.more.items()), ""]))
        return path


@dataclass(frozen=True)
class SecuredKafka:
    """Where its listeners are, and what one needs to get in."""

    #: SASL_SSL: SCRAM-SHA-512 and PLAIN
    who: str
    #: SSL, for who has a certificate
    certified: str
    ca_file: Path
    other_ca_file: Path
    certificate_file: Path
    key_file: Path
    authority: Authority
    _admin: AdminClient

    def add_user(self, name: str) -> None:
        """Add somebody who may log in, with a password like everybody's, and may do nothing yet."""
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        credential = UserScramCredentialUpsertion(name, scram, password_of(name).encode())
        for future in self._admin.alter_user_scram_credentials([credential]).values():
            result(future)

    def brokers(self, user: str) -> Brokers:
        """The listener, as this user."""
        security = KafkaSecurity(
            protocol=Protocol.SASL_SSL, ca_file=self.ca_file, user=user, password=password_of(user)
        )
        return Brokers(self.who, security)


def password_of(user: str) -> str:
    return PASSWORD if user == USER else f"the password of {user}"


@contextmanager
def secured_kafka(folder: Path) -> Iterator[SecuredKafka]:
    """It runs for as long as the block does."""
    authority, other = Authority(folder, "authority"), Authority(folder, "another")
    certificate, key = authority.issue("broker")
    keystore = folder / "broker.pem"
    keystore.write_bytes(key.read_bytes() + certificate.read_bytes())
    broker = _Broker(folder / "kafka")
    who = free_port([broker.port])
    broker.listeners = {"WHO": who, "CERTIFIED": free_port([broker.port, who])}
    broker.more = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # Who sets it up, in plain text, and who may do all.
        "super.users": f"User:ANONYMOUS;User:{USER};User:CN=client",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca_file),
        "listener.name.certified.ssl.client.auth": "required",
        "listener.name.who.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "listener.name.who.scram-sha-512.sasl.jaas.config": f"{_JAAS}.scram.ScramLoginModule required;",
        "listener.name.who.plain.sasl.jaas.config": (
            f'{_JAAS}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        ),
    }
    with broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
        certificate_file, key_file = authority.issue("client")
        who_at, certified_at = (f"{LOOPBACK}:{port}" for port in broker.listeners.values())
        secured = SecuredKafka(
            who_at, certified_at, authority.ca_file, other.ca_file, certificate_file, key_file, authority, admin
        )
        secured.add_user(USER)
        yield secured
