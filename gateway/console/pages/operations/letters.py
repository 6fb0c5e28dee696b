"""Dead letters: records that could not be processed, and why; sent in again, or dropped."""

from __future__ import annotations

from itertools import groupby

import msgspec
from aiohttp.web import Response

from backbeat.errors import Unavailable
from backbeat.gateway.console import responses
from backbeat.gateway.console.deeds import carry_out, command_id, form_fields, new_entry, reason_problem
from backbeat.gateway.console.page_error import PageError, not_found
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.letters.content import decoded, text_of
from backbeat.gateway.letters.letters import SETTLED_MAX
from backbeat.gateway.letters.topic import STATES, WAITING, DeadLetter, Filters, Position
from backbeat.gateway.people.audit import DONE
from backbeat.schemas.kafka.dead_letters import OUR_PREFIX

_ROWS = 50
#: Prefix of a box in the form; its position follows.
_BOX = "letter:"
#: Actions, and whether a reason is required.
_ACTIONS = {"redrive": False, "drop": True}


async def show_all(visit: Visit) -> Page:
    """GET /ui/letters."""
    query = visit.query
    state = query.get("state", WAITING)
    if state not in (*STATES, "all"):
        raise PageError(400, "This address is broken", f"state is one of {', '.join(STATES)}, all.")
    before = _position(query["before"]) if query.get("before") else None
    clients = visit.clients()
    chosen = visit.chosen_clients() if query.get("client") else None
    filters = Filters(
        state=None if state == "all" else state,
        reason=query.get("reason", ""),
        clients=_own(visit) if chosen is None else frozenset(client.name for client in chosen),
        since=visit.time_of(query, "since"),
    )
    letters: list[DeadLetter] | None
    try:
        letters, older_than = await visit.services.letters.newest(_ROWS, filters, before)
    except Unavailable as error:
        visit.troubles.append(str(error))
        letters, older_than = None, None
    done = visit.parts.audit.find(query.get("done", ""))
    if done is not None and (done.kind != "letter" or not visit.sees_entry(done)):
        done = None
    return visit.page(
        "letters.html",
        "Dead letters",
        rows=letters,
        state=state,
        states={word: visit.address(state=word, before=None, done=None) for word in (*STATES, "all")},
        older=None if older_than is None else visit.address(before=str(older_than), done=None),
        newest=visit.address(before=None, done=None) if before is not None else None,
        clients=[client.name for client in clients],
        query={name: query.get(name, "") for name in ("client", "reason", "since")},
        done=done,
        **form_fields(visit),
    )


def _own(visit: Visit) -> frozenset[str] | None:
    """Clients whose letters the visitor sees; None: all letters, those of the system's topics included."""
    return None if visit.who.clients is None else frozenset(client.name for client in visit.clients())


def _position(text: str) -> Position:
    position = Position.read(text)
    if position is None:
        raise PageError(400, "This address is broken", f"{text[:60]!r} is no position of a dead letter.")
    return position


async def _letters(visit: Visit, positions: list[Position]) -> list[DeadLetter]:
    """The letters at these positions that the visitor sees. Refusal 503."""
    try:
        letters = await visit.services.letters.get(positions)
    except Unavailable as error:
        raise PageError(503, "Dead letters cannot be read", str(error)) from error
    own = _own(visit)
    return [letter for letter in letters if own is None or letter.client in own]


async def show(visit: Visit) -> Page:
    """GET /ui/letters/{position}."""
    return await _page(visit, visit.values["position"])


async def _page(visit: Visit, text: str, problem: str = "", status: int = 200) -> Page:
    letters = await _letters(visit, [_position(text)])
    if not letters:
        raise not_found("dead letter")
    (letter,) = letters
    kind, content = decoded(letter) if visit.may_read_payloads else ("", "")
    return visit.page(
        "letter.html",
        f"Dead letter {letter.position}",
        letter=letter,
        position=str(letter.position),
        kind=kind,
        content=msgspec.json.encode(content) if kind else None,
        unreadable=content if not kind else "",
        raw=text_of(letter.value),
        headers=[(name, text_of(value)) for name, value in letter.headers if not name.startswith(OUR_PREFIX)],
        problem=problem,
        response_status=status,
        **form_fields(visit),
        **visit.deeds(str(letter.position)),
    )


async def settle(visit: Visit) -> Page | Response:
    """POST /ui/letters: redrive or drop the letters whose boxes are ticked."""
    action = visit.form.get("action", "")
    if action not in _ACTIONS:
        raise PageError(400, "This form was not whole", f"action is one of {', '.join(_ACTIONS)}.")
    positions = sorted({_position(name.removeprefix(_BOX)) for name in visit.form if name.startswith(_BOX)})
    if not positions or len(positions) > SETTLED_MAX:
        raise PageError(400, "Which letters?", f"Tick one at least, and {SETTLED_MAX} at most. Nothing was changed.")
    reason = visit.form.get("reason", "").strip()
    problem = reason_problem(reason, is_required=_ACTIONS[action])
    if problem:
        if len(positions) == 1:
            return await _page(visit, str(positions[0]), problem, 400)
        raise PageError(400, "Say why", problem)
    letters = await _letters(visit, positions)
    if len(letters) < len(positions):
        raise not_found("dead letter")
    # What was settled before is left as it is: a form that is sent twice does nothing the second time.
    letters = [letter for letter in letters if letter.mark is None]
    if not letters:
        raise PageError(400, "This is done already", "All of them were sent in or dropped before.")
    letters.sort(key=lambda letter: letter.client)
    entry_id = ""
    for client, group in groupby(letters, key=lambda letter: letter.client):
        entry_id = await _settle(visit, action, client, list(group), reason)
    if len(positions) == 1:
        return responses.redirect(f"letters/{positions[0]}?done={entry_id}")
    return responses.redirect(f"letters?done={entry_id}")


async def _settle(visit: Visit, action: str, client: str, letters: list[DeadLetter], reason: str) -> str:
    """Settle letters of one client; the id of the entry in the audit."""
    first = letters[0]
    positions = tuple(str(letter.position) for letter in letters)
    registered = visit.services.engine.registry.by_name(client) if client else None
    entry = new_entry(
        visit,
        action=action if len(letters) == 1 else f"{action} {len(letters):,} letters, from",
        kind="letter",
        subject_id=positions[0],
        subject_ids=positions if len(positions) > 1 else (),
        subject_name=first.source,
        workflow_id="",
        client_id="" if registered is None else registered.id,
        reason=reason,
        command_id=command_id(visit, f" {action} {client} {first.position}").hex(),
    )

    async def send() -> str:
        service = visit.services.letters
        note = f"{visit.who.name}: {reason}" if reason else visit.who.name
        try:
            outcomes = await (service.redrive if action == "redrive" else service.drop)(letters, note)
        except Unavailable as error:
            raise PageError(503, "It is not known whether it was done", str(error)) from error
        refused = [outcome for outcome in outcomes if outcome.error]
        if refused:
            place = f"{refused[0].letter.position}: {refused[0].error}"
            return f"refused {len(refused)} of {len(letters)}, which wait on: {place}"
        return DONE

    await carry_out(visit, entry, send)
    return entry.id
