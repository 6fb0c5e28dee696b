"""The rules of Backbeat: `apply(command, now, store) -> effects`.

Theory of operation
-------------------
A workflow is a tree of nodes. Commands come one at a time, in the order of the log; `apply` reads the few records
that a command touches, changes copies of them, puts them back, and returns the effects to perform. It reads no
clock, draws no random number, makes no id of its own and does no IO: the same log gives the same tree, on every
machine, every time.

What a node goes through (server status; the client status, as its client reports it, is in `status`):

    pending ──(its parent's client is done)──▶ ready ──(nothing before it is in the way)──▶ started
    started ──(fires_at has come)──▶ sent_to_client        or, in a paused workflow, ──▶ paused ──(resume)──▶ started
    sent_to_client ──(client: completed)──▶ processing_children ──(children and links closed)──▶ complete
    sent_to_client ──(client: errored, or nothing by complete_by)──▶ retrying ──(backoff)──▶ ready, as before
                                                           or, no retry left, ──▶ retries_exhausted
    retries_exhausted ──(resolved, shutdown)──▶ processing_children        or ──(restart)──▶ ready
    anything ──(cancel, reset or shutdown above it, deactivate previous)──▶ deactivated

Read in this order, a signal on its way to "complete", 2,200 lines (`schemas/messages/commands` and `values` say what
can be asked):

    dispatch       `apply`: a command to the function that does it; refused whole, or done whole
    transaction    what one command reads and writes: get, edit, add, put, delete, scan; commit, rollback
    tables         the catalogue of records: struct, key, version and timer of each kind, in one row
    records        what is stored of workflows and nodes
    step           one command's work on one workflow; every status change goes through it
    tree/          `status` (which status may follow which), `create` (a signal and its node), `progress` (how work
                   moves through the tree), `results` (what the client says); then `failures`, `operator`,
                   `deactivation`, `history`

`effects` are the results of a command. `store` is the interface of a partition's records, with a store in memory.
`checks`, `idempotency`, `retry`, `timers` and `gone` (what was removed) serve several rooms. `queries` answers from the
same records, and `traverse` walks through them. `settings` changes a partition's settings.

Beside the tree, each in a room of its own: `takes` (results of nodes as arguments of later ones), `follow_ups` (what
runs when a node fails, is undone or canceled), `inbox` (messages to a workflow, and nodes that wait for them),
`heartbeat` (a worker's sign of life, and its progress), `links` (a node that can't complete before another one),
`coalesce` (one waiting signal of a key), `limits` (concurrency and rate of an activity type), `schedules` (workflows
signalled at times), `jobs` (one change for all matching nodes or workflows), `waits` (why a node does not go on),
`retention` (removal of finished workflows). A room has a table of its commands, timers and tasks (`handlers`), and
hooks at signals, nodes and status changes; `dispatch` puts them together, and the tree imports no room.
"""

from backbeat.streams.core.dispatch import apply

__all__ = ["apply"]
