"""The engine's own commands that were put aside, as dead letters, and are sent in again.

Repeats of an engine's command are recognized by its source: all that is not above the newest one taken from there. A
command that was put aside was not taken, and others were since; so the partition remembers where such ones stood, the
newest of them, and takes each once more, whatever its source. What could not be read may have been such a command.
"""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.commands import AnyCommand
from backbeat.streams.core.records import Meta

_KEPT_MAX = 256


def note_put_aside(meta: Meta, offset: int, command: AnyCommand | None) -> None:
    """Remember that the record at an offset became a dead letter; `command`: null where it could not be read.

    What others have sent is known by no source: it may always come again.
    """
    if (command is None or command.source is not None) and offset not in meta.put_aside:
        meta.put_aside = [*meta.put_aside, offset][-_KEPT_MAX:]


def without_source(command: AnyCommand, before: int | None, meta: Meta) -> AnyCommand:
    """The command, without its source where it stood at the offset `before`, was put aside there, and comes again."""
    if before is None or command.source is None or before not in meta.put_aside:
        return command
    meta.put_aside = [offset for offset in meta.put_aside if offset != before]
    return msgspec.structs.replace(command, source=None)
