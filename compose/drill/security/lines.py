"""Attacks on lines: whoever has no password, the wrong one, or another authority's certificate."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace

import httpx2

from backbeat.compose.drill.security.attack import Attack, BrokenError, expect
from backbeat.compose.drill.security.broker import ADMIN
from backbeat.compose.drill.security.installation import SecuredInstallation
from backbeat.compose.local.ports import LOOPBACK
from backbeat.schemas.kafka.brokers import RefusedError, UnreachableError, reach
from backbeat.schemas.kafka.security import Brokers, KafkaSecurity, Protocol

_TAP_SECONDS_MAX = 5.0
_TAP_BYTES = 4_096
#: The first bytes of a TLS handshake.
_HANDSHAKE = b"\x16\x03"
_OK = 200


def _no_credentials(installation: SecuredInstallation) -> str:
    broker = installation.broker
    security = KafkaSecurity(protocol=Protocol.SSL, ca_file=broker.authority.ca_file)
    # It is not told why: a broker that asks who comes ends the connection of somebody who does not say.
    return _locked_out(installation, Brokers(broker.users_at, security), UnreachableError, "")


def _in_plain_text(installation: SecuredInstallation) -> str:
    return _locked_out(installation, Brokers(installation.broker.users_at), UnreachableError, "")


def _wrong_password(installation: SecuredInstallation) -> str:
    broker = installation.broker
    security = replace(broker.security(ADMIN), password="not that")  # noqa: S106 - it is none
    return _locked_out(installation, Brokers(broker.users_at, security), RefusedError, "invalid credentials")


def _another_authority(installation: SecuredInstallation) -> str:
    broker = installation.broker
    security = replace(broker.security(ADMIN), ca_file=broker.stranger.ca_file)
    return _locked_out(installation, Brokers(broker.users_at, security), RefusedError, "certificate verify failed")


def _another_name(installation: SecuredInstallation) -> str:
    """The certificate is for 127.0.0.1: it is none for a broker that is asked for by another name."""
    broker = installation.broker
    elsewhere = broker.users_at.replace(LOOPBACK, "localhost")
    return _locked_out(
        installation, Brokers(elsewhere, broker.security(ADMIN)), RefusedError, "certificate verify failed"
    )


def _no_certificate(installation: SecuredInstallation) -> str:
    broker = installation.broker
    security = KafkaSecurity(protocol=Protocol.SSL, ca_file=broker.authority.ca_file)
    reach(
        Brokers(
            broker.certificates_at,
            replace(security, certificate_file=broker.certificate_file, key_file=broker.key_file),
        )
    )
    return _locked_out(installation, Brokers(broker.certificates_at, security), RefusedError, "alert")


def _locked_out(
    installation: SecuredInstallation, brokers: Brokers, expected: type[UnreachableError], reason: str
) -> str:
    """The refusal of these brokers, which let the admin in."""
    reach(installation.broker.brokers(ADMIN))
    try:
        reach(brokers)
    except UnreachableError as error:
        text = str(error).partition(" What to do:")[0]
        expect(isinstance(error, expected) and reason in text, f"it does not get in for another reason: {text}")
        return text
    raise BrokenError(f"{brokers} lets in whoever comes so")


def _open_line(installation: SecuredInstallation) -> str:
    """A listener that does not encrypt, called with a user and a password and without a protocol."""
    password = installation.broker.passwords[ADMIN]
    security = KafkaSecurity.of({"USER": ADMIN, "PASSWORD": password, "SASL_MECHANISM": "PLAIN"})
    with _tap() as (address, heard), contextlib.suppress(UnreachableError):
        reach(Brokers(address, security))
    text = b"".join(heard)
    expect(heard and all(each.startswith(_HANDSHAKE) for each in heard), f"it heard {text[:40]!r}, no TLS handshake")
    expect(password.encode() not in text, "the password went over an open line")
    return f"{len(heard)} connections, each begins with a TLS handshake; no password in {len(text)} bytes"


@contextlib.contextmanager
def _tap() -> Iterator[tuple[str, list[bytes]]]:
    """An address, and the first bytes of each connection to it."""
    heard: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(_TAP_SECONDS_MAX)
            with contextlib.suppress(OSError):
                if content := self.request.recv(_TAP_BYTES):
                    heard.append(content)

    with socketserver.ThreadingTCPServer((LOOPBACK, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, name="tap", daemon=True).start()
        try:
            yield f"{LOOPBACK}:{server.server_address[1]}", heard
        finally:
            server.shutdown()


def _plain_http(installation: SecuredInstallation) -> str:
    with installation.http() as caller:
        status = caller.get("/health").status_code
        expect(status == _OK, f"over HTTPS /health is answered with {status}")
    try:
        answer = httpx2.get(f"http://{LOOPBACK}:{installation.gateway_port}/health", trust_env=False)
    except httpx2.TransportError as error:
        return f"over HTTP the gateway answers nothing: {error}"
    raise BrokenError(f"over HTTP the gateway answers with {answer.status_code}")


def _false_gateway(installation: SecuredInstallation) -> str:
    trusting = httpx2.create_ssl_context()
    trusting.load_verify_locations(installation.broker.stranger.ca_file)
    try:
        answer = httpx2.get(f"{installation.url}/health", verify=trusting, trust_env=False)
    except httpx2.ConnectError as error:
        expect("certificate verify failed" in str(error), f"it is refused for another reason: {error}")
        return str(error)
    raise BrokenError(f"whoever trusts another authority is answered with {answer.status_code}")


_LOG_IN = "who does not say who they are, by a password or a certificate, does not get in"
_CHECKED = "the authority and the name of whoever answers are checked"
ATTACKS = (
    Attack("lines", "no credentials", _LOG_IN, _no_credentials),
    Attack("lines", "plain text at a listener that encrypts", _LOG_IN, _in_plain_text),
    Attack("lines", "wrong password", _LOG_IN, _wrong_password),
    Attack("lines", "no certificate where one is asked for", _LOG_IN, _no_certificate),
    Attack("lines", "brokers of another authority", _CHECKED, _another_authority),
    Attack("lines", "brokers of another name", _CHECKED, _another_name),
    Attack("lines", "gateway of another authority", _CHECKED, _false_gateway),
    Attack("lines", "gateway without HTTPS", "a gateway with a certificate serves HTTPS alone", _plain_http),
    Attack(
        "lines",
        "password over an open line",
        "a password goes over an open line only where that is asked for by name",
        _open_line,
    ),
)
