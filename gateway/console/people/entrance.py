"""Entrance: who a request is from, and the way in by a name and a token."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.people.session import (
    SESSION_SECONDS_MAX,
    Forms,
    Signer,
    new_session,
    read_cookie,
    write_cookie,
)
from backbeat.gateway.people.person import visitor_of
from backbeat.gateway.people.visitor import DEVELOPER, Role, Visitor
from backbeat.gateway.settings import GatewaySettings, UiLogin
from backbeat.schemas.kafka.clients import hash_token
from backbeat.schemas.kafka.security import connection

if TYPE_CHECKING:
    from backbeat.gateway.http.services import Services

logger = logging.getLogger(__name__)

_ASK_SECONDS = 10.0
_SECRET_BYTES_MIN = 16


class Entrance:
    """Visitors of one gateway."""

    def __init__(self, settings: GatewaySettings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self._signer = Signer(_secret(settings))
        self.forms = Forms(self._signer)
        self._trusted = [ipaddress.ip_network(network) for network in settings.console.trusted_proxies]
        self.people = services.people
        self._cookie_name = ""

    @property
    def is_open(self) -> bool:
        """True where everybody is let in."""
        return self._settings.console.login is UiLogin.NONE

    async def start(self) -> None:
        """Begin to follow the people, once Kafka is there."""
        if self.is_open:
            return
        self.people.follower.start()
        # Cookies know no ports: the consoles of two installations on one host must not end each other's sessions.
        cluster = await asyncio.to_thread(_cluster_id, self._settings.bootstrap_servers)
        self._cookie_name = f"backbeat_ui_{hashlib.sha256(cluster.encode()).hexdigest()[:8]}"

    # --- who it is ---------------------------------------------------------------------------------------------------

    def visitor(self, request: web.BaseRequest) -> Visitor | None:
        """The visitor; None: nobody is logged in."""
        if self.is_open:
            return DEVELOPER
        proxied = self._proxied(request)
        if proxied is not None:
            return proxied
        claim = read_cookie(self._cookie(request))
        if claim is None:
            return None
        session, content, signature = claim
        holder = self._holder(session.way, session.name)
        if holder is None or not self._signer.is_signed(signature, "session", content, holder[1]):
            return None
        return msgspec.structs.replace(holder[0], session_id=session.nonce)

    def _proxied(self, request: web.BaseRequest) -> Visitor | None:
        """The person whom a proxy that is believed has let in; None: none has, or nobody here is called so."""
        header = self._settings.console.user_header
        names = request.headers.getall(header, ()) if header else ()
        if not names or not self._is_trusted(request.remote or ""):
            return None
        if len(names) > 1:
            # A proxy that adds its header to the visitor's own: which is whose nobody can tell.
            logger.warning("the proxy at %s sends %s %d times: nobody is believed", request.remote, header, len(names))
            return None
        (name,) = names
        holder = self._holder("person", name)
        if holder is None:
            return None
        # Forms are bound to the person and to its token's hash: a person that was removed and added is another one.
        session_id = self._signer.sign("proxied", name, holder[1])
        return msgspec.structs.replace(holder[0], way="proxy", session_id=session_id)

    def _is_trusted(self, address: str) -> bool:
        try:
            at = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(at in network for network in self._trusted)

    def _cookie(self, request: web.BaseRequest) -> str:
        try:
            morsel = SimpleCookie(request.headers.get("Cookie", "")).get(self._cookie_name)
        except CookieError:
            return ""
        return "" if morsel is None else morsel.value

    def _holder(self, way: str, name: str) -> tuple[Visitor, str] | None:
        """A person or client as a visitor, and the hash of its token."""
        if way == "person":
            person = self.people.by_name(name)
            if person is None or person.is_expired:
                return None
            return visitor_of(person, self._services.engine.registry, way), person.token_hash
        client = self._services.engine.registry.by_name(name)
        if client is None or not client.token_hash:
            return None
        # As the API has it: a client may do whatever it likes with what is its own.
        visitor = Visitor(
            name=name, role=Role.OPERATOR, way="client", payloads=True, clients=frozenset({client.id_bytes})
        )
        return visitor, client.token_hash

    # --- logging in and out ------------------------------------------------------------------------------------------

    async def log_in(self, request: web.BaseRequest, name: str, token: str) -> tuple[Visitor, str] | None:
        """The visitor and the Set-Cookie header of a new session; None: name or token is wrong. 429, 503."""
        address, tries = request.remote or "", self._services.wrong_tries
        if self.people.follower.problem:
            raise PageError(503, "Nobody can be let in at the moment", self.people.follower.problem)
        token_hash = hash_token(token)
        for caught_up in (False, True):
            for way in ("person", "client"):
                holder = self._holder(way, name)
                if holder is not None and hmac.compare_digest(holder[1].encode(), token_hash.encode()):
                    if caught_up:
                        tries.take_back(address)
                    session = new_session(way, name)
                    visitor = msgspec.structs.replace(holder[0], session_id=session.nonce)
                    return visitor, self._set_cookie(request, write_cookie(session, self._signer, token_hash))
            if not caught_up:
                if seconds := tries.seconds_left(address):
                    raise PageError(
                        429, "Too many wrong tries", "Wait a minute, then try again.", {"Retry-After": str(seconds)}
                    )
                tries.note(address)
                # The person, or the token, may have been added a moment ago.
                await self.people.catch_up()
        logger.warning("a wrong name or token at the console, from %s", address)
        return None

    def _set_cookie(self, request: web.BaseRequest, value: str, seconds: int = SESSION_SECONDS_MAX) -> str:
        # Without a path: that of this page, `…/ui`, wherever a proxy has put it.
        is_secure = request.scheme == "https" or request.headers.get("X-Forwarded-Proto") == "https"
        secure = "; Secure" if is_secure else ""
        return f"{self._cookie_name}={value}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"

    def log_out(self, request: web.BaseRequest) -> str:
        """The Set-Cookie header that ends a session in this browser."""
        return self._set_cookie(request, "", 0)


def _secret(settings: GatewaySettings) -> bytes:
    path = settings.console.secret_file
    if path is None:
        if settings.console.login is not UiLogin.NONE:
            logger.info("sessions of the console end with this gateway: --ui-secret-file FILE keeps them")
        return secrets.token_bytes(32)
    secret = path.read_bytes().strip()
    if len(secret) < _SECRET_BYTES_MIN:
        raise OSError(f"{path} has {len(secret)} bytes: a secret has {_SECRET_BYTES_MIN} at least")
    return secret


def _cluster_id(bootstrap_servers: str) -> str:
    admin = AdminClient({**connection(bootstrap_servers), "log_level": 0})
    while True:
        try:
            return str(admin.list_topics(timeout=_ASK_SECONDS).cluster_id)
        except KafkaException as error:
            logger.warning("the console waits for Kafka: %s", error.args[0].str())
