"""What is stored of workflows that are to be removed, or were."""

from __future__ import annotations

import msgspec


class Due(msgspec.Struct, gc=False, array_like=True):
    """A workflow waits to be archived: its key has since when, and which."""

    version: int = 1


class SignalTombstone(msgspec.Struct, gc=False, array_like=True, kw_only=True):
    """There was a node of this id at the top of a workflow that was removed: no repeat makes it again."""

    version: int = 1
    forget_at: int  #: when its timer is due
