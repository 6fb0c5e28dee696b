"""Whatever was put into the search box: an id leads to its page, words and other text to the list of what has them."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from aiohttp.web import Response

from backbeat.gateway.console import responses
from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.pages.lists.words import address_of
from backbeat.gateway.console.visit import Visit
from backbeat.gateway.http.parameters import find_id
from backbeat.payload.values import id_text
from backbeat.schemas.messages import ids


async def find(visit: Visit) -> Response:
    """GET /ui/go?q=…: 303."""
    text = visit.query.get("q", "")
    if not text:
        return responses.redirect("workflows")
    identity = find_id(text)
    if identity is not None and ids.is_ours(identity):
        workflow, node = await asyncio.gather(visit.workflow(identity), visit.node(identity), return_exceptions=True)
        for kind, view in (("workflows", workflow), ("nodes", node)):
            if not isinstance(view, BaseException):
                return responses.redirect(f"{kind}/{id_text(identity)}")
        for error in (workflow, node):
            if isinstance(error, BaseException) and not (isinstance(error, PageError) and error.status == 404):  # noqa: PLR2004 - the status that everybody knows
                raise error
        raise PageError(
            404,
            "Nothing has this id",
            f"Neither a workflow nor a node that you may see has the id {id_text(identity)}. It may have been removed "
            "by its retention.",
        )
    in_words = address_of(text)
    if in_words is not None:
        return responses.redirect(in_words)
    return responses.redirect(f"workflows?text={quote(text, safe='', errors='replace')}")
