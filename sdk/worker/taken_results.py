"""Results that an activity takes, put where its arguments refer to them (docs/reference/wire.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from backbeat.codecs import MARK
from backbeat.errors import BackbeatError, Fail
from backbeat.payload.values import from_json
from backbeat.schemas.messages.activities import TakenResult


class UnreadResultsError(BackbeatError):
    """The results that did not fit into an activity could not be read: its attempt has not begun."""


def with_results(params: Any, takes: int, results: Sequence[TakenResult], unpack: Callable[[Any], Any]) -> Any:
    """Arguments with the results in place of their references. `unpack` is applied to each result."""
    slots: list[list[Any]] = [[] for _ in range(takes)]
    defaults: dict[int, Any] = {}
    for result in results:
        if result.is_default:
            defaults[result.slot] = unpack(from_json(result.response or b"null"))
        else:
            slots[result.slot].append(unpack(_value_of(result.response)))

    def value_of(word: str, slot: Any) -> Any:
        if not isinstance(slot, int) or not 0 <= slot < takes:
            raise Fail(f"the arguments refer to the result {slot!r}, and the node takes {takes}: takes of its maker")
        if slot in defaults:
            return defaults[slot]
        values = slots[slot]
        return values if word == "results" else values[0] if values else None

    def replaced(value: Any) -> Any:
        if isinstance(value, list):
            return [replaced(item) for item in value]
        if not isinstance(value, dict):
            return value
        reference = value.get(MARK)
        if isinstance(reference, dict) and len(value) == 1 and len(reference) == 1:
            ((word, slot),) = reference.items()
            if word in ("result", "results"):
                return value_of(word, slot)
            if word == "literal":
                return slot
        return {key: replaced(item) for key, item in value.items()}

    return replaced(params)


def _value_of(response: bytes | None) -> Any:
    """A result in a response: a worker's is JSON-RPC shaped; a client of the HTTP API may say anything."""
    value = None if response is None else from_json(response)
    return value["result"] if isinstance(value, dict) and "result" in value else value
