"""The rules of Backbeat, and nothing else: `apply(command, now, store) -> effects`.

Theory of operation
-------------------
A workflow is a tree of nodes. Commands come one at a time, in the order of the log; `apply` reads the few records
that a command touches, changes copies of them, puts them back, and says what the outside has to do. It reads no
clock, draws no random number, makes no id of its own and does no IO: the same log gives the same tree, on every
machine, every time.

What a node goes through (server status; `status` has the client status, which is what its client says):

    pending ──(its parent's client is done)──▶ ready ──(nothing before it is in the way)──▶ started
    started ──(fires_at has come)──▶ sent_to_client        or, in a paused workflow, ──▶ paused ──(resume)──▶ started
    sent_to_client ──(client: completed)──▶ processing_children ──(children and links closed)──▶ complete
    sent_to_client ──(client: errored, or nothing by complete_by)──▶ retrying ──(backoff)──▶ ready, as before
                                                           or, no retry left, ──▶ retries_exhausted
    retries_exhausted ──(resolved, shutdown)──▶ processing_children        or ──(restart)──▶ ready
    anything ──(cancel, reset or shutdown above it, deactivate previous)──▶ deactivated

Read in this order, a signal on its way to "complete": `schemas/messages/values` and `commands` (what can be asked),
`records` (what is stored), `effects` (what comes of it), `dispatch` (a command to its function), `step` (how one
command's changes are kept together), then the room `tree`: `status` (which status may follow which), `create`,
`progress` (how work moves through the tree), `failures`, `links`, `deactivation`, `operator`, `retry`, `history`,
`traverse`, `coalesce`.

Beside the tree, each in a room of its own: `limits` (how many of an activity type may be out at once, and who is next),
`schedules` (workflows that are signalled at times), `jobs` (one change for all that match), `retention` (what is
removed, and when).
"""

from backbeat.streams.core.dispatch import apply

__all__ = ["apply"]
