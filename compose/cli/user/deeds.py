"""Deeds of the command line on Kafka itself: written into the audit before they are done, and what came of them after.

Nobody has checked the name that they are under (`--as`, else $USER): the way in says `cli`. Where the audit is not to
be seen, a warning says so; where it cannot be written, nothing is done.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from backbeat.gateway.people.audit import Entry

#: Ids that an entry names, of those that a command was given.
_SUBJECTS_MAX = 1_000
_WAY = "cli"


@dataclass(frozen=True, kw_only=True)
class Deed:
    """A change that somebody asks for."""

    #: retry, pause, set, …
    action: str
    #: node, workflow, job, activity, schedule, retention, settings, letter
    kind: str
    #: ids, or names, of what it is about
    subjects: Sequence[str]
    #: what it is called, in words
    name: str = ""
    reason: str = ""
    client_id: str = ""


@contextmanager
def written_down(bootstrap_servers: str, actor: str, deed: Deed) -> Iterator[None]:
    """Write a deed into the audit, let it be done, write what came of it. Unavailable: it cannot be written."""
    from backbeat.errors import Rejected, Unavailable
    from backbeat.gateway.people.audit import DONE, Audit
    from backbeat.schemas.kafka.brokers import reach
    from backbeat.schemas.kafka.topics import AUDIT

    if AUDIT not in reach(bootstrap_servers).list_topics(timeout=10.0).topics:
        click.echo(f"warning: this is not in the audit: {AUDIT} is not there, or may not be written", err=True)
        yield
        return
    audit, entry = Audit(bootstrap_servers), _entry(actor, deed)

    def note(outcome: str) -> None:
        try:
            audit.put(msgspec.structs.replace(entry, outcome=outcome))
        except Unavailable as error:
            click.echo(f"warning: what came of it is not in the audit: {error}", err=True)

    try:
        audit.put(entry)
    except Unavailable as error:
        raise Unavailable(f"Nothing was done, since it cannot be written down: {error}") from error
    try:
        yield
    except Rejected as refusal:
        note(f"refused: {refusal.message}")
        raise
    except click.exceptions.Exit:
        # Each refusal was printed.
        note("refused: some, or all")
        raise
    note(DONE)


def actor_of(name: str | None) -> str:
    """Name that a deed is under: that of --as, else of the user of this machine."""
    return name or os.environ.get("USER") or os.environ.get("LOGNAME") or f"uid {os.getuid()}"


def _entry(actor: str, deed: Deed) -> Entry:
    from backbeat.activities.running import transaction_id
    from backbeat.gateway.people.audit import Entry, new_entry_id

    subjects = tuple(deed.subjects[:_SUBJECTS_MAX])
    more = f" and {len(deed.subjects) - len(subjects):,} more" if len(deed.subjects) > len(subjects) else ""
    return Entry(
        id=new_entry_id(),
        at=time.time_ns() // 1_000_000,
        actor=actor,
        role="",
        way=_WAY,
        address=os.uname().nodename,
        action=deed.action,
        kind=deed.kind,
        subject_id=subjects[0],
        subject_name=deed.name + more,
        workflow_id="",
        client_id=deed.client_id,
        reason=deed.reason,
        command_id="",
        tid=transaction_id(),
        subject_ids=subjects if len(subjects) > 1 else (),
    )
