"""Secured broker: a throw-away Kafka whose listeners encrypt and ask who comes, with an authority of its own.

with SecuredBroker(folder) as broker:
    broker.add_user("shop")
    broker.brokers("shop")
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Self

from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from backbeat.compose.cli.show.progress import Say
from backbeat.compose.drill.security.authority import Authority
from backbeat.compose.local.jars.class_archive import prepare_kafka
from backbeat.compose.local.kafka import KafkaBroker, Membership
from backbeat.compose.local.ports import LOOPBACK, free_port
from backbeat.compose.local.storage import make_id
from backbeat.schemas.kafka.brokers import result
from backbeat.schemas.kafka.security import PREFIX, Brokers, KafkaSecurity, Protocol, connection

#: Who may do everything at the brokers: gives the others their rights.
ADMIN = "admin"
_JAAS = "org.apache.kafka.common.security"


class SecuredBroker:
    """Broker over SASL_SSL with rights a user, from `start()` to `stop()` or `with`; its files are in its folder."""

    def __init__(self, folder: Path, *, say: Say = lambda _: None) -> None:
        """Nothing happens before `start()`, but that the certificates are made."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.authority = Authority(folder, "authority")
        #: signs nothing that is used here
        self.stranger = Authority(folder, "stranger")
        #: of whoever comes to the listener that asks for one: of a user who may do everything
        self.certificate_file, self.key_file = self.authority.issue("client")
        #: user -> password
        self.passwords = {ADMIN: _password()}
        self._say = say
        port = free_port()
        users_port = free_port([port])
        certificates_port = free_port([port, users_port])
        controller_port = free_port([port, users_port, certificates_port])
        #: SASL_SSL: SCRAM-SHA-512 and, for the admin, PLAIN
        self.users_at = f"{LOOPBACK}:{users_port}"
        #: SSL, for who has a certificate
        self.certificates_at = f"{LOOPBACK}:{certificates_port}"
        membership = Membership(
            cluster_id=make_id(),
            controller_ports={1: controller_port},
            node_id=1,
            settings=self._settings(folder),
            listeners={"USERS": users_port, "CERTIFICATES": certificates_port},
        )
        self._broker = KafkaBroker(folder / "kafka", port=port, say=say, membership=membership)
        self._admin: AdminClient

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and let the admin in."""
        prepare_kafka(self._say)
        self._broker.start()
        # Over the listener in plain text, which nobody else is told of.
        self._admin = AdminClient({**connection(self._broker.bootstrap_servers), "log_level": 0})
        self._let_in(ADMIN)

    def stop(self) -> None:
        """Stop it: thrown away, it need not end in order."""
        self._broker.kill()

    def add_user(self, name: str) -> None:
        """Add somebody who may log in, and may do nothing yet."""
        self.passwords[name] = _password()
        self._let_in(name)

    def brokers(self, user: str) -> Brokers:
        """The listener that asks for a password, as this user."""
        return Brokers(self.users_at, self.security(user))

    def security(self, user: str) -> KafkaSecurity:
        """Settings with which this user comes in."""
        return KafkaSecurity(
            protocol=Protocol.SASL_SSL, ca_file=self.authority.ca_file, user=user, password=self.passwords[user]
        )

    def variables(self, user: str) -> dict[str, str]:
        """Environment of a process that connects as this user."""
        security = {"CA_FILE": str(self.authority.ca_file), "USER": user, "PASSWORD": self.passwords[user]}
        return {
            "BACKBEAT_BOOTSTRAP_SERVERS": self.users_at,
            **{f"{PREFIX}{name}": value for name, value in security.items()},
        }

    def _let_in(self, name: str) -> None:
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        credential = UserScramCredentialUpsertion(name, scram, self.passwords[name].encode())
        for future in self._admin.alter_user_scram_credentials([credential]).values():
            result(future)

    def _settings(self, folder: Path) -> dict[str, str]:
        certificate, key = self.authority.issue("broker")
        keystore = folder / "broker.pem"
        keystore.touch(mode=0o600)
        keystore.write_bytes(key.read_bytes() + certificate.read_bytes())
        return {
            "listener.security.protocol.map": (
                "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,USERS:SASL_SSL,CERTIFICATES:SSL"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # Who sets it up, in plain text, and who may do all.
            "super.users": f"User:ANONYMOUS;User:{ADMIN};User:CN=client",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.ca_file),
            "listener.name.certificates.ssl.client.auth": "required",
            "listener.name.users.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
            "listener.name.users.scram-sha-512.sasl.jaas.config": f"{_JAAS}.scram.ScramLoginModule required;",
            "listener.name.users.plain.sasl.jaas.config": (
                f'{_JAAS}.plain.PlainLoginModule required user_{ADMIN}="{self.passwords[ADMIN]}";'
            ),
        }


def _password() -> str:
    """A password with what files, shells and lists of settings use for themselves."""
    return f"{secrets.token_hex(12)}, with: signs"
