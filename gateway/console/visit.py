"""Visit: one request to the console, with who asks and what the gateway knows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from backbeat.errors import Rejected, Unavailable
from backbeat.gateway.console.page_error import PageError, forbidden, not_found
from backbeat.gateway.console.parts import Parts
from backbeat.gateway.console.shared import SHOWN_SECONDS_MAX
from backbeat.gateway.console.show.look import read_look
from backbeat.gateway.console.show.times import now_ms
from backbeat.gateway.http import errors
from backbeat.gateway.http.parameters import find_id
from backbeat.gateway.http.times import to_milliseconds
from backbeat.gateway.people.visitor import Right, Visitor
from backbeat.gateway.projection import ProjectionError
from backbeat.payload.values import id_text
from backbeat.schemas.messages import ids, queries
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.views import ChildView, NodeView, WorkflowView

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from backbeat.gateway.backlog import Backlog
    from backbeat.gateway.http.services import Services
    from backbeat.gateway.people.audit import Entry
    from backbeat.gateway.settings import SavedView
    from backbeat.schemas.kafka.client_registry import RegisteredClient

T = TypeVar("T")

#: Time that a page waits for the projection to have the newest writes.
FRESHEN_SECONDS = 0.15
FRESHEN_AFTER_WRITE_SECONDS = 2.0
#: Time that a page waits for the engine: a person looks at it.
_ENGINE_SECONDS = 5.0
_DEEDS = 20
#: Header of a live page that fetches itself anew: nobody waits for the answer, and nothing tells it of a later one.
_LIVE_HEADER = "X-Backbeat-Live"
#: Age from which lists are said to miss something.
_OLD_SECONDS = 1.5


class Page(msgspec.Struct, frozen=True):
    """A page to be rendered."""

    template: str
    title: str
    values: dict[str, Any]


class Visit:
    """A request with its visitor."""

    def __init__(self, parts: Parts, request: web.BaseRequest, path: str, tid: str) -> None:
        self.parts = parts
        self.request = request
        #: Entry of the navigation that is the current one.
        self.entry = ""
        #: Path below `/ui/`.
        self.path = path
        #: Way from this page to `/ui/`, for every link.
        self.base = "../" * path.count("/") or "./"
        #: The path's parameters.
        self.values: dict[str, str] = {}
        self.query: dict[str, str] = {name: value.strip() for name, value in request.query.items()}
        self.tid = tid
        self.look = read_look(request.headers.get("Cookie", ""))
        self.visitor: Visitor | None = None
        self.form: dict[str, str] = {}
        #: True: the form is from a page of this very host, so what it says may be shown, to be sent again.
        self.keeps_form = False
        #: Seconds that lists may be behind; None: the page has no list.
        self.stale_seconds: float | None = None
        #: Time up to which the page has every change, milliseconds since the epoch.
        self.complete_until = now_ms()
        #: Parts that are away, as sentences.
        self.troubles: list[str] = []

    @property
    def is_secure(self) -> bool:
        """True if the visitor's browser has come by https."""
        return self.request.scheme == "https" or self.request.headers.get("X-Forwarded-Proto") == "https"

    @property
    def services(self) -> Services:
        """Parts of the gateway."""
        return self.parts.services

    @property
    def who(self) -> Visitor:
        """The visitor, on pages that need one."""
        assert self.visitor is not None, "the table says who may come here"
        return self.visitor

    @property
    def is_old(self) -> bool:
        """True for a page whose lists may miss something: a live one looks again."""
        return self.stale_seconds is not None and self.stale_seconds > _OLD_SECONDS

    def form_token(self, path: str) -> str:
        """Hidden field of a form that is posted to this path below `/ui/`."""
        session_id = "" if self.visitor is None else self.visitor.session_id
        return self.parts.entrance.forms.token(session_id, path)

    def is_page(self, address: str, method: str = "GET") -> bool:
        """True for a page of ours, as one may be led to after logging in."""
        return self.parts.is_page(address.partition("?")[0], method)

    def kept(self, form: dict[str, str], path: str, address: str) -> dict[str, Any]:
        """Values of a page that keeps a form: to be sent again to this path, at this address as this page has it."""
        fields = {name: value for name, value in form.items() if name != "form"}
        return {"kept": {"form": self.form_token(path), **fields}, "kept_address": address}

    @property
    def may_act(self) -> bool:
        """True if the visitor may change something here."""
        return self.who.may(Right.ACT) and not self.parts.settings.read_only

    @property
    def has_drills(self) -> bool:
        """True if runs of drills are shown to the visitor."""
        return self.parts.settings.drills is not None and self.who.clients is None

    @property
    def saved_views(self) -> tuple[SavedView, ...]:
        """Views of the team."""
        return self.parts.settings.views

    @property
    def may_read_payloads(self) -> bool:
        """True if the visitor may read arguments, results and metadata."""
        return self.who.may(Right.PAYLOADS)

    def refuse_metadata(self) -> None:
        """403 without the right to read it: whoever may ask what it contains reads it letter by letter."""
        if not self.may_read_payloads:
            raise forbidden("the right to read payloads, metadata among them")

    def page(self, template: str, title: str, **values: Any) -> Page:
        """A page of this visit."""
        return Page(template, title, values)

    def address(self, **changes: str | None) -> str:
        """This page with some words of its query changed, as a relative link."""
        words = {**self.query, **changes}
        query = urlencode({name: value for name, value in words.items() if value}, errors="replace")
        name = self.path.rpartition("/")[2] or "./"
        return f"{name}?{query}" if query else name

    def address_of(self, page: str, **words: str) -> str:
        """Another page below `/ui/` with these words in its query, as a relative link."""
        return f"{self.base}{page}?{urlencode(words, errors='replace')}"

    @staticmethod
    def time_of(words: dict[str, str], name: str) -> int | None:
        """Time in milliseconds that a word of a form or an address says; None: it says none. PageError 400."""
        text = words.get(name)
        if not text:
            return None
        milliseconds = to_milliseconds(text)
        if milliseconds is None:
            raise PageError(400, "This is no time", f"{name} is {text[:60]!r}. Write it as 2026-11-29 13:45, in UTC.")
        return milliseconds

    def gateway_address(self) -> str:
        """Address of this gateway, as the visitor's browser has it."""
        return f"{self.request.scheme}://{self.request.headers.get('Host', '')}"

    def stand_in(self, path: str) -> None:
        """Make links as on the page at another path: for a part of it that is put there."""
        self.path = path
        self.base = "../" * path.count("/") or "./"
        self.query = {}

    # --- clients -----------------------------------------------------------------------------------------------------

    def clients(self) -> list[RegisteredClient]:
        """Clients that the visitor sees, by name."""
        try:
            registry = self.services.engine.registry
        except errors.Refusal as error:
            self.note_engine_trouble(error)
            return []
        return [client for client in registry.all() if self.who.sees(client.id_bytes)]

    def chosen_clients(self) -> list[RegisteredClient]:
        """Client that the address names, else all that the visitor sees. PageError 400: there is none."""
        name = self.query.get("client")
        if not name:
            return self.clients()
        client_id = self.client_id(name)
        if client_id is None:
            raise PageError(400, "There is no such client", f"Nobody that you may see is called {name[:60]!r}.")
        return [client for client in self.clients() if client.id_bytes == client_id]

    def client_id(self, name: str) -> bytes | None:
        """Id of the client of this name, or id, that the visitor sees; None: none. Refusal 503: Kafka is away."""
        seen = (client for client in self.services.engine.registry.all() if self.who.sees(client.id_bytes))
        return next((client.id_bytes for client in seen if name in (client.name, client.id)), None)

    def client_name(self, client_id: bytes) -> str:
        """Name of a client; its id if it is not registered any more."""
        client = self.services.engine.client(client_id)
        return id_text(client_id) if client is None else client.name

    # --- engine ------------------------------------------------------------------------------------------------------

    def path_id(self, noun: str) -> bytes:
        """Id in the path. 404 if no engine can have made it."""
        identity = find_id(self.values["id"])
        if identity is None or not ids.is_ours(identity):
            raise not_found(noun)
        return identity

    async def ask(self, kind: type[queries.AnyQuery], noun: str, **fields: Any) -> list[Any]:
        """The parts of a query's reply. 404, 503."""
        try:
            return await self.services.engine.query(
                lambda reply_to, deadline: kind(reply_to=reply_to, deadline=deadline, tid=self.tid, **fields),
                noun,
                _ENGINE_SECONDS,
            )
        except Rejected as rejected:
            if rejected.reason == Reason.NOT_FOUND:
                raise not_found(noun) from rejected
            raise PageError(409, "The engine refused this", rejected.message) from rejected

    async def ask_all(self, kind: type[queries.AnyQuery], noun: str, **fields: Any) -> tuple[list[Any], bool]:
        """The parts of every partition's reply, and whether none is missing: a line on the page says which are."""
        try:
            partitions = self.services.engine.every_partition()
        except errors.Refusal as error:
            # Kafka is away: as no partition answers then.
            self.note_engine_trouble(error)
            return [], False
        asked = [self.ask(kind, noun, partition=partition, **fields) for partition in partitions]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        parts: list[Any] = []
        for answer in answers:
            if isinstance(answer, errors.Refusal):
                self.note_engine_trouble(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                parts += answer
        return parts, not any(isinstance(answer, BaseException) for answer in answers)

    async def workflow(self, workflow_id: bytes) -> WorkflowView:
        """A workflow that the visitor sees. 404."""
        (view,) = await self.ask(queries.GetWorkflow, "workflow", workflow_id=workflow_id)
        if not self.who.sees(view.user_id):
            raise not_found("workflow")
        return view  # type: ignore[no-any-return]  # the engine's answer to this query

    async def node(self, node_id: bytes) -> NodeView:
        """A node that the visitor sees. 404."""
        (view,) = await self.ask(queries.GetNode, "node", node_id=node_id)
        if not self.who.sees(view.user_id):
            raise not_found("node")
        return view  # type: ignore[no-any-return]  # as above

    async def history(self, node_id: bytes) -> list[StatusChange]:
        """Status changes of a node, oldest first."""
        parts = await self.ask(queries.GetHistory, "node", node_id=node_id)
        return [change for part in parts for change in part.changes]

    async def each(self, kind: type[queries.AnyQuery], noun: str, field: str, values: list[bytes]) -> list[list[Any]]:
        """The reply to a query of each of these ids; an empty one where it is gone, or no engine answers."""
        asked = (self.ask(kind, noun, **{field: value}) for value in values)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return list(map(_answered, answers))

    async def nodes(self, node_ids: Iterable[bytes]) -> dict[bytes, ChildView]:
        """Nodes of any workflows by id, with what each waits for, without those that are gone or not answered for."""
        try:
            count = len(self.services.engine.every_partition())
        except errors.Refusal:
            return {}
        of_partition: defaultdict[int, list[bytes]] = defaultdict(list)
        for node_id in node_ids:
            of_partition[ids.partition_of(node_id, count)].append(node_id)
        asked = (
            self.ask(queries.GetNodes, "node", partition=partition, node_ids=tuple(group))
            for partition, group in of_partition.items()
        )
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return {node.id: node for parts in map(_answered, answers) for part in parts for node in part.nodes}

    # --- audit -------------------------------------------------------------------------------------------------------

    def deeds(self, of: str) -> dict[str, Any]:
        """Entries of the audit about what has this id, or is in it; and that of the change which led to this page."""
        audit = self.parts.audit
        done = audit.find(self.query.get("done", ""))
        return {
            "entries": audit.newest(_DEEDS, visitor=self.who, of=of),
            "done": done if done is not None and of in done.about else None,
        }

    def sees_entry(self, entry: Entry) -> bool:
        """True for an entry of the audit about what is the visitor's to see."""
        return self.who.sees(find_id(entry.client_id) or b"")

    # --- projection --------------------------------------------------------------------------------------------------

    async def read(self, query: Callable[[Connection], T], default: T) -> T:
        """Result of reading the projection; the default, and a line on the page, while it is away."""
        return await self.with_projection(lambda: self.services.projection.read(query), default)

    async def with_projection(self, reading: Callable[[], Awaitable[T]], default: T) -> T:
        """Result of a reading that needs the projection, likewise."""

        async def read() -> T:
            began_at = now_ms()
            stale_seconds, result = await self._freshened(reading)
            self._note_age(began_at, stale_seconds)
            return result

        return await self._or(read, default)

    async def share(self, key: object, reading: Callable[[], Awaitable[T]], default: T) -> T:
        """Result of a reading that is dear, which pages of the same key share; some seconds old at most. Likewise.

        After one's own change, and live, the page waits for a new one where that is due.
        """
        waits = "done" in self.query or _LIVE_HEADER in self.request.headers
        shown_seconds_max = 0.0 if waits else SHOWN_SECONDS_MAX

        async def read() -> T:
            (stale_seconds, result), age = await self.parts.shared.get(
                key, lambda: self._freshened(reading), shown_seconds_max=shown_seconds_max
            )
            self._note_age(now_ms(), stale_seconds + age)
            return result  # type: ignore[no-any-return]  # as the reading gave it

        return await self._or(read, default)

    def _note_age(self, at: int, seconds: float) -> None:
        """A list may be so many seconds behind that time."""
        self.stale_seconds = seconds
        self.complete_until = min(self.complete_until, at - int(seconds * 1000))

    async def _freshened(self, reading: Callable[[], Awaitable[T]]) -> tuple[float, T]:
        """Seconds that it may be behind, and the result."""
        seconds_max = FRESHEN_AFTER_WRITE_SECONDS if "done" in self.query else FRESHEN_SECONDS
        stale_seconds = await self.parts.freshness.freshen(seconds_max)
        async with self.parts.turn():
            return stale_seconds, await reading()

    async def _or(self, read: Callable[[], Awaitable[T]], default: T) -> T:
        try:
            return await read()
        except (ProjectionError, Unavailable) as error:
            if str(error) not in self.troubles:
                self.troubles.append(str(error))
            return default

    async def backlog(self) -> Backlog | None:
        """Backlog of the topics, and who takes it; None, and a line on the page, where Kafka does not say."""
        try:
            return await self.services.backlog.read()
        except Unavailable as error:
            self.troubles.append(str(error))
            return None

    def note_engine_trouble(self, error: errors.Refusal) -> None:
        """Turn an engine that is away into a line on the page."""
        if error.status < 500:  # noqa: PLR2004 - a refusal of what was asked
            raise error
        if str(error) not in self.troubles:
            self.troubles.append(str(error))


def _answered(answer: list[Any] | BaseException) -> list[Any]:
    """The parts of an answer; none where what was asked for is gone, or no engine answers."""
    if isinstance(answer, PageError | errors.Refusal):
        return []
    if isinstance(answer, BaseException):
        raise answer
    return answer
