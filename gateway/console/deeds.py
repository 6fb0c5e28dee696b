"""Deeds: what people do, written down before it is done, and again with what came of it."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from backbeat.errors import Unavailable
from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.show.times import now_ms
from backbeat.gateway.console.visit import Visit
from backbeat.gateway.http import errors
from backbeat.gateway.http.casing import compact
from backbeat.gateway.http.parameters import Parameters
from backbeat.gateway.people.audit import Entry, new_entry_id
from backbeat.schemas.messages import ids

logger = logging.getLogger(__name__)

REASON_CHARACTERS_MAX = 500
_KEY_BYTES = 16
_SERVER_ERROR_STATUS = 500
_KEY_CHARACTERS = 2 * _KEY_BYTES


def form_fields(visit: Visit) -> dict[str, Any]:
    """Values of a form that asks why: its key, and the reason where it comes back."""
    return {
        "key": visit.form.get("key") or secrets.token_hex(_KEY_BYTES),
        "reason": visit.form.get("reason", ""),
        "reason_characters_max": REASON_CHARACTERS_MAX,
    }


def command_id(visit: Visit, suffix: str = "") -> bytes:
    """Id of a form's command: sent twice it is the same. PageError 400: the form is not whole."""
    key = visit.form.get("key", "")
    if len(key) != _KEY_CHARACTERS:
        raise PageError(
            400, "This form was not whole", "Nothing was changed. Load the page anew, then do it once more."
        )
    return ids.command_id(
        b"console", visit.who.name.encode(errors="replace"), f"{key}{suffix}".encode(errors="replace")
    )


def body_hash(text: str) -> bytes:
    """Hash of what a form's command says: with it the engine does what is sent twice once, and answers as before."""
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=16).digest()


def reason_problem(reason: str, *, is_required: bool) -> str:
    """Reason to ask for a reason once more; empty: it will do."""
    if is_required and not reason:
        return "Say why: it is kept, and nothing brings back what this ends."
    if len(reason) > REASON_CHARACTERS_MAX:
        return f"The reason has {len(reason)} characters; {REASON_CHARACTERS_MAX} is the most."
    return ""


def new_entry(visit: Visit, **fields: Any) -> Entry:
    """Entry of what the visitor is about to do."""
    return Entry(
        id=new_entry_id(),
        at=now_ms(),
        actor=visit.who.name,
        role=visit.who.role,
        way=visit.who.way,
        address=visit.request.remote or "",
        tid=visit.tid,
        **fields,
    )


def object_of(text: str) -> bytes:
    """A JSON object that was typed, as arguments are stored. Refusal 400."""
    data = text.strip().encode(errors="replace") or b"{}"
    Parameters.of_json(data)
    if not data.startswith(b"{"):
        raise errors.invalid('The arguments are a JSON object, such as {"args": ["Ann"]}')
    return compact(data)


async def carry_out(visit: Visit, entry: Entry, send: Callable[[], Awaitable[str]]) -> None:
    """Write the entry, do it, write the outcome that `send` gives. 503: it cannot be written, so it is not done."""
    try:
        await visit.parts.audit.write(entry)
    except Unavailable as error:
        raise PageError(503, "Nothing was done, since it cannot be written down", str(error)) from error
    try:
        outcome = await send()
    except PageError as error:
        # An engine that is away may have done it: only of a refusal it is known that it has not.
        if error.status < _SERVER_ERROR_STATUS:
            await _write_outcome(visit, entry, f"refused: {error}")
        raise
    await _write_outcome(visit, entry, outcome)


async def _write_outcome(visit: Visit, entry: Entry, outcome: str) -> None:
    audit = visit.parts.audit
    try:
        await audit.write(msgspec.structs.replace(entry, outcome=outcome))
    except Unavailable:
        # It is done: the audit has it, without what came of it.
        logger.exception("the outcome of %s of %s %s is not in the audit", entry.action, entry.kind, entry.subject_id)
    await audit.catch_up()
