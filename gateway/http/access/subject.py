"""Subject of a person's change, as the audit names it: without payloads, which not every reader of it may see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from backbeat.payload.values import id_text
from backbeat.schemas import bodies
from backbeat.schemas.errors import DecodeError, UnknownSchemaError
from backbeat.schemas.messages.jobs import JobFilter

if TYPE_CHECKING:
    from backbeat.gateway.http.call import Call

_NAME_CHARACTERS_MAX = 1_000
_ID_CHARACTERS_MAX = 300
_HIDDEN = "…"
#: Parameters whose values are named: no arguments, results or metadata.
_PARAMETERS = frozenset(
    """
    action again aging_seconds all archive backoff burst catch_up client client_id concurrency created_end created_start
    cron current_status decider dry_run end error fairness_key id interval keep_seconds key name note offset overlap
    past_status paused positions priority rate refuse_seconds retriable retries retry_after signal start status_end
    status_start subject times workflow workflow_id workflow_name workflow_type zone
    """.split()  # noqa: SIM905 - one name after the other is easier to read and to add to
)
#: The same of a record's fields.
_FIELDS = (
    "node_id", "workflow_id", "schedule_id", "job_id", "parent_id", "activity", "status", "change", "action", "filter",
    "policy", "forget",
)  # fmt: skip


def subject_of(call: Call) -> tuple[str, str]:
    """Id and name of what a change is about."""
    subject_id, name = _of_record(call) if call.route.takes_record else _of_parameters(call)
    return _writable(subject_id)[:_ID_CHARACTERS_MAX], _writable(name)[:_NAME_CHARACTERS_MAX]


def _of_parameters(call: Call) -> tuple[str, str]:
    words = [*call.path.values()]
    parameters = call.parameters.excerpt(_PARAMETERS, _HIDDEN)
    return next(iter(words), call.tid), " ".join(filter(None, (*words, parameters)))


def _of_record(call: Call) -> tuple[str, str]:
    try:
        record = bodies.read_command(call.body)
    except (DecodeError, UnknownSchemaError, RecursionError):
        # The handler refuses it.
        return call.tid, f"a record of {len(call.body)} bytes"
    values = {name: _text(value) for name in _FIELDS if (value := getattr(record, name, None)) is not None}
    named = " ".join(f"{name} {text}" for name, text in values.items())
    return next(iter(values.values()), call.tid), f"{type(record).__name__} {named}"


def _text(value: Any) -> str:
    match value:
        case bytes():
            return id_text(value)
        case JobFilter():
            is_by_metadata = value.metadata is not None
            return str(msgspec.structs.replace(value, metadata=_HIDDEN) if is_by_metadata else value)
        case _:
            return str(value)


def _writable(text: str) -> str:
    """The text as JSON can have it: bytes that are no UTF-8 come as lone surrogates."""
    return text.encode(errors="replace").decode()
