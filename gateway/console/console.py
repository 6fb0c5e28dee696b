"""Way of a request through the console: Host, path, visitor, right, handler, template, headers."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any
from urllib.parse import parse_qsl, quote

from aiohttp import web

from backbeat.gateway.console import responses
from backbeat.gateway.console.figures import Figures
from backbeat.gateway.console.hosts import Hosts, origin_of
from backbeat.gateway.console.page_error import PageError, forbidden, not_found
from backbeat.gateway.console.pages import login
from backbeat.gateway.console.parts import Parts
from backbeat.gateway.console.rendering import Templates
from backbeat.gateway.console.show import times
from backbeat.gateway.console.table import Row, find
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http import errors, transaction_id
from backbeat.gateway.http.services import Services
from backbeat.gateway.people.visitor import Right
from backbeat.gateway.settings import GatewaySettings
from backbeat.observe.prometheus import version

logger = logging.getLogger(__name__)

PREFIX = "/ui/"
_STATIC = "static/"
_REFRESH_SECONDS = (5, 10, 60)
#: Time after which a page looks again that could not be made since a part is away.
_AWAY_REFRESH_SECONDS = 5
_FORM = "application/x-www-form-urlencoded"
_FORM_BYTES_MAX = 65_536
#: A form that was sent without a session comes with the one that logs in.
_LOGIN_BYTES_MAX = 2 * _FORM_BYTES_MAX
#: Status of an answer while a part of the system is away.
_AWAY = 503
_NOT_ALLOWED = 405
_RIGHTS = {
    Right.PAYLOADS: "the right to see payloads (--payloads)",
    Right.ACT: "the role operator (--role operator)",
}


class Console:
    """Handler of all requests under `/ui`."""

    #: Key in a request under which its path in the table is found, once it is known.
    PATH = "backbeat.console.path"

    def __init__(self, settings: GatewaySettings, services: Services) -> None:
        self._settings = settings.console
        self._hosts = Hosts(self._settings.hosts)
        self._templates = Templates()
        codec_url = settings.console.codec_url
        self._codec_origin = None if codec_url is None else origin_of(codec_url)
        self._parts = Parts(settings, services, is_page=lambda path, method: method in find(path))
        #: Begin and end of following people and audit, while Kafka is there.
        self.start, self.stop = self._parts.start, self._parts.stop

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to a request; an error is a page, too."""
        tid = transaction_id.choose(request.headers.get(transaction_id.HEADER))
        path = request.path.removeprefix(PREFIX)
        if not request.path.startswith(PREFIX):
            return responses.redirect("ui/")
        visit = Visit(self._parts, request, path, tid)
        times.ZONE.set(visit.look.tzinfo)
        response: web.StreamResponse
        try:
            response = await self._answer(visit)
        except Exception as error:  # noqa: BLE001 - any error is logged, and answered as a page
            response = await self._error_page(visit, error)
        response.headers[transaction_id.HEADER] = tid
        if self._codec_origin is not None and responses.POLICY_HEADER in response.headers and not response.prepared:
            response.headers[responses.POLICY_HEADER] = responses.policy(self._codec_origin)
        return response

    async def _answer(self, visit: Visit) -> web.StreamResponse:
        request = visit.request
        if not self._hosts.is_ours(request.headers.get("Host")):
            raise PageError(
                421,
                "This gateway does not know that it is called so",
                "The console answers to addresses, to localhost and to names that it was told: start the gateway with "
                "--ui-host NAME for each name that people type.",
            )
        if visit.path.startswith(_STATIC):
            request[self.PATH] = _STATIC
            return await self._static(visit)
        visit.visitor = self._parts.entrance.visitor(request)
        if visit.visitor is None and not self._is_public(request.method, visit.path):
            # Also where there is no such page: who is not logged in learns nothing.
            return await self._to_login(visit)
        row, visit.values = self._find(request.method, visit.path)
        request[self.PATH] = row.path
        visit.entry = row.entry
        if visit.visitor is not None and not visit.visitor.may(row.right):
            raise forbidden(_RIGHTS[row.right])
        if request.method == "POST":
            await self._read_form(visit, row)
        result = await row.handler(visit)
        if isinstance(result, web.StreamResponse):
            return result
        return await self._page(visit, result)

    @staticmethod
    def _is_public(method: str, path: str) -> bool:
        row = find(path).get(method)
        return row is not None and row[0].right is Right.NONE

    async def _to_login(self, visit: Visit) -> web.Response:
        # As it was sent: a `#` that is decoded would end the address.
        address = f"{visit.path}?{visit.request.rel_url.raw_query_string}".rstrip("?")
        if visit.request.method == "POST":
            # A gateway that was restarted has ended sessions under forms that people were filling in.
            visit.form = await self._read_fields(visit, _FORM_BYTES_MAX)
            if not visit.keeps_form:
                raise PageError(401, "Your session is over", "Nothing was changed. Log in again, then do it once more.")
            return await self._page(visit, login.interrupt(visit, address))
        following = f"?next={quote(address, safe='')}" if address else ""
        return responses.redirect(f"{visit.base}login{following}")

    async def _read_form(self, visit: Visit, row: Row) -> None:
        """Read a form, once it is sure that it is one of ours. 403, 405, 413."""
        if self._settings.read_only and row.right is Right.ACT:
            raise PageError(405, "Nothing can be changed here", "This console is read only (--ui-read-only).")
        visit.form = await self._read_fields(visit, _LOGIN_BYTES_MAX if row.right is Right.NONE else _FORM_BYTES_MAX)
        session_id = "" if visit.visitor is None else visit.visitor.session_id
        if not self._parts.entrance.forms.is_ours(visit.form.get("form", ""), session_id, visit.path):
            text = "Nothing was changed: since it was made the gateway was restarted, or you have logged in anew."
            raise PageError(403, "This form is too old", text, keeps_form=visit.keeps_form)

    async def _read_fields(self, visit: Visit, bytes_max: int) -> dict[str, str]:
        """The fields of a form that comes from a page of ours. 403, 413."""
        request = visit.request
        site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
        if not self._hosts.is_same_origin(site, origin):
            raise PageError(403, "This form is none of ours", "It came from another site, or from no browser.")
        visit.keeps_form = self._hosts.is_same_host(request.headers.get("Host"), site, origin)
        length = request.content_length
        if request.content_type != _FORM or length is None or length > bytes_max:
            raise PageError(413, "This is no form", f"A form is {_FORM}, with {bytes_max:,} bytes at most.")
        try:
            body = (await request.read()).decode()
        except UnicodeDecodeError as error:
            raise PageError(400, "This form cannot be read", "It is no UTF-8.") from error
        return dict(parse_qsl(body, keep_blank_values=True))

    def _find(self, method: str, path: str) -> tuple[Row, dict[str, str]]:
        rows = find(path)
        if not rows:
            raise not_found("page")
        if method == "HEAD":
            method = "GET"
        if method not in rows:
            allowed = ", ".join(sorted(rows))
            raise PageError(405, "This cannot be done here", f"Allowed: {allowed}.", {"Allow": allowed})
        return rows[method]

    async def _static(self, visit: Visit) -> web.Response:
        version_part, _, name = visit.path.removeprefix(_STATIC).partition("/")
        file = self._templates.files.get(name)
        if file is None or version_part != self._templates.version or visit.request.method not in ("GET", "HEAD"):
            raise not_found("page")
        return await responses.static(visit.request, file.body, file.content_type)

    # --- pages -------------------------------------------------------------------------------------------------------

    async def _page(self, visit: Visit, page: Page) -> web.Response:
        figures = None
        if visit.visitor is not None:
            figures = await self._parts.counter.figures()
        values = {**self._frame(visit, page.title, figures), **page.values}
        async with self._parts.turn():
            # A thousand rows take tens of milliseconds, which calls of the API would wait for.
            html = await asyncio.to_thread(self._templates.render, page.template, values)
            response = await responses.page(visit.request, html, page.values.get("response_status", 200))
        response.headers.update(page.values.get("response_headers", {}))
        every = visit.query.get("every", "")
        if every.isdecimal() and int(every) in _REFRESH_SECONDS:
            response.headers["Refresh"] = every
        elif page.values.get("refresh_seconds"):
            response.headers["Refresh"] = str(page.values["refresh_seconds"])
        return response

    def _frame(self, visit: Visit, title: str, figures: Figures | None) -> dict[str, Any]:
        return {
            "figures": figures,
            "failing_count": figures.failing(visit.who) if figures is not None else 0,
            "base": visit.base,
            "static": f"{visit.base}{_STATIC}{self._templates.version}/",
            "title": title,
            "visit": visit,
            "visitor": visit.visitor,
            "installation": self._settings.name,
            "colour": self._settings.colour,
            "is_read_only": self._settings.read_only,
            "at": time.time_ns() // 1_000_000,
            "version": version(),
            "is_open": self._parts.entrance.is_open,
            "live": "",
            "live_rows": "",
            # Of the node or the job that the page is of: changes of others are no matter.
            "live_id": "",
            # Milliseconds between two looks of a live page; 0: a second.
            "live_every": 0,
            # Time after which a page loads itself anew where no script keeps it live; 0: it does not.
            "reload_seconds": 0,
            "codec_url": self._settings.codec_url or "",
            # A link by which the page loads itself anew.
            "can_load_anew": visit.request.method == "GET",
            # Fields of a form that can be sent again.
            "kept": {},
            # Of nodes that have other pages than live ones.
            "addresses_of": {},
        }

    async def _error_page(self, visit: Visit, error: Exception) -> web.Response:
        refused = _page_error(error)
        if refused is None:
            logger.error("%s %s", visit.request.method, visit.request.path, exc_info=error)
            refused = PageError(500, "The gateway failed", "Its log says why, under the transaction id below.")
        # Text that somebody has typed at night is not lost with the engine; a token is never sent back.
        is_kept = (refused.keeps_form or refused.status == _AWAY) and "token" not in visit.form
        kept = visit.kept(visit.form, visit.path, visit.address()) if is_kept else {}
        # What does not answer comes back: a job that has just begun keeps its engine from answering for some seconds.
        looks_again = refused.status == _AWAY and visit.request.method == "GET"
        refresh_seconds = _AWAY_REFRESH_SECONDS if looks_again else 0
        # An address for sending alone has nothing to load, now or later.
        can_load_anew = visit.request.method == "GET" and refused.status != _NOT_ALLOWED
        values = {"text": refused.text, "refresh_seconds": refresh_seconds, "can_load_anew": can_load_anew, **kept}
        page = Page("error.html", refused.title, values)
        if visit.path == login.PATH and visit.form:
            # Another form's fields may wait in it for the login: they are not lost either.
            page = login.refuse(visit, refused)
        # Whoever meets an error sees what else is not well, and waits for no count.
        figures = None if visit.visitor is None else self._parts.counter.newest
        values = {**self._frame(visit, page.title, figures), **page.values}
        response = await responses.page(visit.request, self._templates.render(page.template, values), refused.status)
        response.headers.update(refused.headers)
        if refresh_seconds:
            response.headers["Refresh"] = str(refresh_seconds)
        return response


def _page_error(error: Exception) -> PageError | None:
    match error:
        case PageError():
            return error
        case errors.Refusal() if error.status == _AWAY:
            return PageError(503, "A part of Backbeat does not answer", str(error), error.headers)
        case errors.Refusal():
            return PageError(error.status, "This was refused", str(error))
        case _:
            return None
