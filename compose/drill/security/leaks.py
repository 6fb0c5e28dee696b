"""Leaks: passwords, tokens and keys, searched for in all that parts, commands and the report have said."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import psutil
from confluent_kafka import Consumer, KafkaError, TopicPartition

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.drill.security.attack import Attack, expect
from backbeat.compose.drill.security.broker import ADMIN
from backbeat.compose.drill.security.installation import OPERATOR, RIVAL_SERVICE, SecuredInstallation
from backbeat.compose.drill.waiting import until
from backbeat.schemas.kafka.security import PREFIX, connection
from backbeat.schemas.kafka.topics import AUDIT, CLIENTS, PEOPLE

_KAFKA_SECONDS_MAX = 60.0
#: Commands whose output and errors are searched, too: of somebody who may, and of somebody who may not.
_COMMANDS = {
    OPERATOR: (
        ("topics", "check", "--development", "--json"),
        ("person", "list", "--json"),
    ),
    RIVAL_SERVICE: (("topics", "check"), ("verify",)),
}


def attack(report: bytes) -> Attack:
    """The search for secrets in everything that was said, and in the run's report."""
    return Attack(
        "secrets",
        "search for secrets",
        "no password, token or key is in a log, an error, a dump, a report or a command line",
        lambda installation: _search(installation, report),
    )


def _search(installation: SecuredInstallation, report: bytes) -> str:
    for user, commands in _COMMANDS.items():
        for words in commands:
            installation.attempt(*words, user=user)
    installation.attempt("topics", "check", user=RIVAL_SERVICE, env={f"{PREFIX}PASSWORD": "not that"})
    secrets = {name: secret.encode() for name, secret in installation.secrets.items()}
    texts = {"report": report, **dict(_said(installation)), **dict(_command_lines())}
    # These have endpoints with their passwords, which the gateway needs, and hashes of tokens.
    listed = installation.run("user", "list", "--json", shows_secret=True)
    kept = {"user list": listed.encode(), **dict(_backup(installation)), **dict(_topics(installation))}
    endpoints = {"password of the endpoint"}
    held = [
        f"{secret} in {text}" for text, content in texts.items() for secret in secrets if secrets[secret] in content
    ]
    held += [
        f"{secret} in {text}"
        for text, content in kept.items()
        for secret in secrets.keys() - endpoints
        if secrets[secret] in content
    ]
    expect(not held, f"{len(held)} times: {'; '.join(held[:5])}")
    size = sum(map(len, (*texts.values(), *kept.values())))
    return f"{len(secrets)} secrets in none of {len(texts) + len(kept)} texts of {size:,} bytes"


def _said(installation: SecuredInstallation) -> Iterator[tuple[str, bytes]]:
    """Outputs of commands, logs and what status ports tell."""
    for command, output in installation.outputs.items():
        yield command, output.encode()
    for log in sorted((installation.folder / "log").glob("*.log")):
        yield log.name, log.read_bytes()
    with installation.http() as anybody:
        for path in ("/metrics", "/health", "/ready", "/openapi.json"):
            yield f"gateway {path}", anybody.get(path).content
    for path in ("/metrics", "/ready"):
        yield f"engine {path}", httpx2.get(f"{installation.status_url}{path}", trust_env=False).content


def _command_lines() -> Iterator[tuple[str, bytes]]:
    """Command lines of all processes that run, as everybody on this machine may read them."""
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        yield f"command line of process {process.info['pid']}", "\0".join(words).encode(errors="surrogateescape")


def _backup(installation: SecuredInstallation) -> Iterator[tuple[str, bytes]]:
    folder = installation.folder / "backup"
    installation.run("backup", str(folder))
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield f"backup {path.name}", path.read_bytes()


def _topics(installation: SecuredInstallation) -> Iterator[tuple[str, bytes]]:
    """Records of the registry, of people, and of what they did."""
    settings = {"group.id": "drill", "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 0}
    consumer = Consumer({**connection(installation.broker.brokers(ADMIN)), **settings})
    try:
        for topic in (CLIENTS, PEOPLE, AUDIT):
            partitions = list(consumer.list_topics(topic, _KAFKA_SECONDS_MAX).topics[topic].partitions)
            consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
            contents: list[bytes] = []
            unread = set(partitions)

            def is_read(contents: list[bytes] = contents, unread: set[int] = unread) -> bool:
                message = consumer.poll(0.2)
                if message is None:
                    return False
                error = message.error()
                if error is None:
                    contents.append(message.value() or b"")
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - named so there
                    unread.discard(message.partition() or 0)
                return not unread

            if not until(is_read, _KAFKA_SECONDS_MAX):
                raise SetupError(f"{topic} cannot be read to its end")
            yield f"topic {topic}", b"\n".join(contents)
    finally:
        consumer.close()
