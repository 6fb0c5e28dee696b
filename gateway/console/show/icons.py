"""Icons, and states of nodes with their icon, as markup that is made once: a page may have a thousand of them."""

from __future__ import annotations

from functools import lru_cache

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from backbeat.gateway.console.show.statuses import bucket_of, status_text
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.schemas.messages.views import ChildView, NodeView


@pass_context
def icon(context: Context, name: str) -> Markup:
    """The icon of this name, from the page's static files."""
    return _icon(context["static"], name)


@pass_context
def state_of(context: Context, node: NodeView | ChildView) -> Markup:
    """A node's state: the icon of its bucket, and both statuses in a few words."""
    return _state(context["static"], node.server, node.client)


# Below how many addresses a console is reached proxies decide, so old ones are forgotten.
@lru_cache(maxsize=512)
def _icon(static: str, name: str) -> Markup:
    return Markup('<svg class="icon {}" aria-hidden="true"><use href="{}icons.svg#{}"/></svg>').format(
        name, static, name
    )


@lru_cache(maxsize=512)
def _state(static: str, server: ServerStatus, client: ClientStatus) -> Markup:
    bucket = bucket_of(server)
    return Markup('<span class="state {}">{}{}</span>').format(
        bucket, _icon(static, bucket), status_text(server, client)
    )
