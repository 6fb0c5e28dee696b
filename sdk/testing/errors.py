"""Errors that only a Backbeat in memory raises."""

from __future__ import annotations

from backbeat.errors import BackbeatError


class NothingDue(BackbeatError):  # noqa: N818 - named by what is the case
    """The awaited node cannot be done by itself: nothing is left to run at this time. The text says what would help.

    On Kafka the wait would go on until its timeout. It is no `Timeout`: code under test must not take it for one.
    """
