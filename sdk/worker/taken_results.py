"""Results that an activity takes, put where its arguments refer to them (docs/reference/wire.md)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from backbeat.activities.taken import FailedMember, Page, Pages, Results
from backbeat.codecs import MARK
from backbeat.errors import BackbeatError, Fail, Timeout, Unavailable
from backbeat.payload.values import from_json, id_text
from backbeat.schemas.messages.activities import ActivityRecord, TakenResult, error_text
from backbeat.schemas.messages.queries import GetResults
from backbeat.transport.base import NOBODY, Transport

#: Time limit of the engine's answer with results that did not fit into an activity.
_ASK_SECONDS = 30.0
#: Results of one page, which `Results` reads at once.
PAGE_RESULTS = 500


class UnreadResultsError(BackbeatError):
    """The results that did not fit into an activity could not be read: its attempt has not begun."""


class TakenResults:
    """The results of one attempt: those that came with its record, and those that are read.

    `places`: arguments whose parameter is annotated with `Results`, and the slots that they refer to. What stands
    elsewhere too is read as a whole.
    """

    def __init__(self, record: ActivityRecord, params: Any, places: Mapping[int | str, int], user_id: bytes) -> None:
        self._record = record
        self._params = params
        self._places = places
        self._user_id = user_id
        self._slots: list[list[TakenResult]] = [[] for _ in range(record.takes)]
        for result in record.results:
            self._slots[result.slot].append(result)
        elsewhere = _slots_in(_with(params, dict.fromkeys(places))) if places else set[int]()
        #: Slots that are read page by page, and the failures in each.
        self._failures = {
            slot: _failures(self._slots[slot])
            for slot in places.values()
            if 0 <= slot < record.takes and slot not in elsewhere and not self._is_whole(slot)
        }

    def _is_whole(self, slot: int) -> bool:
        counts = self._record.counts
        return not counts or len(self._slots[slot]) >= counts[slot].count

    @property
    def must_be_read(self) -> bool:
        """True: some are to be read (`read`) before the handler is called."""
        record = self._record
        if not self._failures:
            return record.has_more_results
        return any(self._lacks(slot) for slot in range(record.takes))

    def _lacks(self, slot: int) -> bool:
        """True where a slot's results, or the failures of one that is read page by page, have not all come."""
        failures = self._failures.get(slot)
        if failures is None:
            return not self._is_whole(slot)
        return len(failures) < self._record.counts[slot].failures

    async def read(self, transport: Transport) -> None:
        """Read what must be there before the handler is called. UnreadResultsError."""
        try:
            if not self._failures:
                last = self._record.results[-1] if self._record.results else None
                after = (0, None) if last is None else (last.slot, last.node_id)
                for result in await self._ask(transport, *after):
                    self._slots[result.slot].append(result)
                return
            for slot in filter(self._lacks, range(self._record.takes)):
                if slot in self._failures:
                    most = self._record.counts[slot].failures
                    self._failures[slot] = await self._ask(transport, slot, None, results_max=most, failures_only=True)
                else:
                    await self._read_whole(transport, slot)
        except (Timeout, Unavailable) as error:
            message = f"the results that node {id_text(self._record.node.id)} takes could not be read: {error}"
            raise UnreadResultsError(message) from error

    async def _read_whole(self, transport: Transport, slot: int) -> None:
        results = self._slots[slot]
        while not self._is_whole(slot):
            after = results[-1].node_id if results else None
            results += await self._page(transport, slot, after)

    async def _page(self, transport: Transport, slot: int, after: bytes | None) -> list[TakenResult]:
        results = await self._ask(transport, slot, after, results_max=PAGE_RESULTS)
        of_slot = [result for result in results if result.slot == slot]
        if not of_slot:
            raise BackbeatError(f"the engine has fewer results for node {id_text(self._record.node.id)} than it said")
        return of_slot

    async def _ask(
        self,
        transport: Transport,
        slot: int,
        after: bytes | None,
        *,
        results_max: int | None = None,
        failures_only: bool = False,
    ) -> list[TakenResult]:
        node = self._record.node
        query = GetResults(
            reply_to=NOBODY,
            deadline=0,
            user_id=self._user_id,
            tid=node.tid,
            node_id=node.id,
            slot=slot,
            after=after,
            results_max=results_max,
            failures_only=failures_only,
        )
        parts = await transport.query(query, _ASK_SECONDS, f"the results that node {id_text(node.id)} takes")
        return [result for part in parts for result in part.results]

    def arguments(
        self,
        unpack: Callable[[Any], Any],
        ask: Callable[[Callable[[Transport], Awaitable[list[TakenResult]]]], Future[list[TakenResult]]],
        *,
        waits: bool,
        is_async: bool,
    ) -> Any:
        """The arguments with the results in place of their references.

        `unpack` is applied to each result, and `waits` where it may wait for a store; `ask` has pages read later.
        """
        defaults: dict[int, Any] = {}
        values: list[list[Any]] = []
        for slot, results in enumerate(self._slots):
            if results and results[0].is_default:
                defaults[slot] = unpack(from_json(results[0].response or b"null"))
            values.append([] if slot in defaults else _values(results, unpack))

        def pages(slot: int) -> Pages | None:
            if slot not in self._failures:
                return None

            def unpacked(page: list[TakenResult]) -> Page:
                return _values(page, unpack), page[-1].node_id

            first = self._slots[slot]
            return Pages(
                first[-1].node_id if first else None,
                lambda after: ask(lambda transport: self._page(transport, slot, after)),
                unpacked,
                waits,
            )

        def results_of(slot: int) -> Any:
            if slot in defaults or not 0 <= slot < len(values):
                return value_of("results", slot)
            failures = self._failures.get(slot, _failures(self._slots[slot]))
            count = self._record.counts[slot].count if slot in self._failures else len(values[slot])
            return Results(values[slot], count, _members(failures), pages(slot), is_for_async=is_async)

        def value_of(word: str, slot: Any) -> Any:
            takes = self._record.takes
            if not isinstance(slot, int) or not 0 <= slot < takes:
                raise Fail(
                    f"the arguments refer to the result {slot!r}, and the node takes {takes}: takes of its maker"
                )
            if slot in defaults:
                return defaults[slot]
            return values[slot] if word == "results" else values[slot][0] if values[slot] else None

        return _replaced(
            _with(self._params, {place: results_of(slot) for place, slot in self._places.items()}), value_of
        )


def slot_of(value: Any) -> int | None:
    """The slot of a reference to the results of a group; None: it is none."""
    reference = value.get(MARK) if isinstance(value, dict) and len(value) == 1 else None
    slot = reference.get("results") if isinstance(reference, dict) and len(reference) == 1 else None
    return slot if isinstance(slot, int) else None


def _with(params: Any, values: Mapping[Any, Any]) -> Any:
    """The arguments with other values at some places."""
    if not values:
        return params
    if isinstance(params, dict):
        return {**params, **values}
    return [values.get(place, value) for place, value in enumerate(params)]


def _replaced(value: Any, value_of: Callable[[str, Any], Any]) -> Any:
    if isinstance(value, list):
        return [_replaced(item, value_of) for item in value]
    if not isinstance(value, dict):
        return value
    reference = value.get(MARK)
    if isinstance(reference, dict) and len(value) == 1 and len(reference) == 1:
        ((word, slot),) = reference.items()
        if word in ("result", "results"):
            return value_of(word, slot)
        if word == "literal":
            return slot
    return {key: _replaced(item, value_of) for key, item in value.items()}


def _slots_in(value: Any) -> set[int]:
    """Slots that arguments refer to, at any depth."""
    slots: list[Any] = []
    _replaced(value, lambda _, slot: slots.append(slot))
    return {slot for slot in slots if isinstance(slot, int)}


def _failures(results: Iterable[TakenResult]) -> list[TakenResult]:
    return [result for result in results if result.failure_index is not None]


def _members(failures: Sequence[TakenResult]) -> list[FailedMember]:
    return [FailedMember(result.failure_index or 0, error_text(result.response)) for result in failures]


def _values(results: Sequence[TakenResult], unpack: Callable[[Any], Any]) -> list[Any]:
    """The values; None for a member that has failed."""
    return [None if result.failure_index is not None else unpack(_value_of(result.response)) for result in results]


def _value_of(response: bytes | None) -> Any:
    """A result in a response: a worker's is JSON-RPC shaped; a client of the HTTP API may say anything."""
    value = None if response is None else from_json(response)
    return value["result"] if isinstance(value, dict) and "result" in value else value
