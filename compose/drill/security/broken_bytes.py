"""Attacks by bytes that are no record and no request: on a topic of one's own, over HTTP, and on the bare socket."""

from __future__ import annotations

import contextlib
import socket

from backbeat.compose.drill.security.attack import Attack, expect
from backbeat.compose.drill.security.installation import (
    ENGINE,
    GATEWAY,
    RIVAL,
    RIVAL_SERVICE,
    SecuredInstallation,
)
from backbeat.compose.drill.security.rights import publish
from backbeat.compose.drill.waiting import until
from backbeat.compose.local.ports import LOOPBACK
from backbeat.schemas.bodies import MEDIA_TYPE
from backbeat.schemas.kafka.topics import signals_topic

_CONTENTS = (b"\xff\x00 no record", b"[" * 10_000, b"{}", b"", b'{"workflow": 1, "signal": []}')
_BODIES = (b"\xff\x00 no record", b"[" * 10_000, b"\x00" * 64)
_PLACES = (("/commands", MEDIA_TYPE), ("/queries", MEDIA_TYPE), ("/workflows", "application/json"))
_LETTERS_SECONDS_MAX = 120.0
_SOCKET_SECONDS_MAX = 20.0
_BAD, _DEFECT = 400, 500


def _topic(installation: SecuredInstallation) -> str:
    publish(installation.broker.brokers(RIVAL_SERVICE), signals_topic(RIVAL), *_CONTENTS)
    with installation.http(RIVAL) as rival:

        def letters() -> int:
            answer = rival.get("/dead-letters")
            expect(answer.is_success, f"dead letters are answered with {answer.status_code}: {answer.text}")
            return len(answer.json())

        is_whole = until(lambda: letters() >= len(_CONTENTS), _LETTERS_SECONDS_MAX)
        expect(is_whole, f"of {len(_CONTENTS)} records that are none {letters()} are dead letters")
    _expect_alive(installation)
    return f"{len(_CONTENTS)} records that are none became as many dead letters; the engine runs on"


def _requests(installation: SecuredInstallation) -> str:
    with installation.http(RIVAL) as rival:
        statuses = [
            rival.post(path, content=body, headers={"Content-Type": media_type}).status_code
            for path, media_type in _PLACES
            for body in _BODIES
        ]
    expect(all(_BAD <= status < _DEFECT for status in statuses), f"bodies that are none are answered with {statuses}")
    _expect_alive(installation)
    return f"{len(statuses)} bodies that are none are answered with {', '.join(map(str, sorted(set(statuses))))}"


def _socket(installation: SecuredInstallation) -> str:
    for content in (b"\x16\x03\x01\xff\xff" + b"\x00" * 512, b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 4_096):
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, installation.gateway_port)) as line:
            line.settimeout(_SOCKET_SECONDS_MAX)
            line.sendall(content)
            line.recv(1)
    _expect_alive(installation)
    return "bytes that are no TLS end their connection alone"


def _expect_alive(installation: SecuredInstallation) -> None:
    for name in (ENGINE, GATEWAY):
        part = installation.parts[name]
        expect(part.running, f"the {name} has ended: {part.exit_reason}")
    with installation.http() as anybody:
        health = anybody.get("/health").json()["status"]
    expect(health == "OK", f"/health says {health}")


_NOBODY = "bytes that are no record end nothing and stop nobody"
ATTACKS = (
    Attack("input", "broken records on a topic", _NOBODY, _topic),
    Attack("input", "broken bodies over HTTP", _NOBODY, _requests),
    Attack("input", "broken bytes at the gateway's socket", _NOBODY, _socket),
)
