"""The engine's own commands that were put aside, as dead letters, and are sent in again.

Repeats of an engine's command are recognized by its source: all that is not above the newest one taken from there. A
command that was put aside was not taken, and others were since; so the partition remembers where such ones stood, the
newest of them, and takes each once more, whatever its source. What could not be read may have been such a command.

An engine that crashed sends its commands again, so one source may lie in several letters, or come once more by itself.
Whichever of them is taken first, the others are repeats.
"""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.commands import AnyCommand
from backbeat.streams.core.records import Meta

_KEPT_MAX = 256


def note_put_aside(meta: Meta, offset: int, command: AnyCommand | None, before: int | None = None) -> None:
    """Remember that the record at an offset became a dead letter; `command`: null where it could not be read.

    What others have sent is known by no source: it may always come again. A record that stood at the offset `before`
    is remembered where it stands now.
    """
    if command is not None and command.source is None:
        return
    place = None if command is None else _place_of(command)
    if before is not None and _is_known(meta, before, place):
        del meta.put_aside[before]
    meta.put_aside[offset] = place
    if len(meta.put_aside) > _KEPT_MAX:
        del meta.put_aside[min(meta.put_aside)]


def without_source(command: AnyCommand, before: int | None, meta: Meta) -> AnyCommand:
    """The command, without its source where it stood at the offset `before`, was put aside there, and comes again.

    Others of the same source are repeats from now on.
    """
    place = _place_of(command)
    if place is None:
        return command
    is_new = place[1:] > meta.high_water.get(place[0], (-1, -1))
    is_redriven = before is not None and _is_known(meta, before, place)
    if not is_new and not is_redriven:
        return command
    meta.put_aside = {offset: kept for offset, kept in meta.put_aside.items() if kept != place}
    if before is not None and is_redriven:
        meta.put_aside.pop(before, None)
    # A new one keeps its source, by which it is a repeat when it is sent once more.
    return command if is_new else msgspec.structs.replace(command, source=None)


def _place_of(command: AnyCommand) -> tuple[int, int, int] | None:
    source = command.source
    return None if source is None else (source.partition, source.offset, source.index)


def _is_known(meta: Meta, offset: int, place: tuple[int, int, int] | None) -> bool:
    """True if this command was put aside at the offset, or one that could not be read."""
    return offset in meta.put_aside and meta.put_aside[offset] in (None, place)
