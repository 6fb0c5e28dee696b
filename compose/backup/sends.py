"""Sends of a replay: what the rules have sent that is not laid yet, and whether engines would send the rest of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from backbeat.schemas import codec
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.schemas.messages.values import Source

#: A command's partition and offset.
Place = tuple[int, int]


class Sends:
    """Sends of the commands that were laid, by their places."""

    def __init__(self, targets: Callable[[AnyCommand], Sequence[int]]) -> None:
        """`targets`: the partitions to which a command goes."""
        self._targets = targets
        #: place -> what it sends that is not laid yet, with its numbers among what it sends
        self._open: defaultdict[Place, dict[bytes, list[int]]] = defaultdict(dict)
        #: from one partition to another: offset and number of the newest that is laid there
        self._newest: dict[tuple[int, int], tuple[int, int]] = {}

    def note(self, place: Place, commands: Iterable[AnyCommand]) -> None:
        """Note what a command sends."""
        for number, command in enumerate(commands):
            self._open[place].setdefault(_content(command), []).append(number)

    def lay(self, source: Source, command: AnyCommand) -> bool:
        """Note that it is laid. False: the command at this place does not send it."""
        place = source.partition, source.offset
        numbers, content = self._open.get(place, {}), _content(command)
        if content not in numbers:
            return False
        numbers[content].pop(0)
        if not numbers[content]:
            del numbers[content]
        if not numbers:
            del self._open[place]
        for target in self._targets(command):
            self._newest[source.partition, target] = source.offset, source.index
        return True

    def are_whole(self, positions: Mapping[int, int]) -> bool:
        """True where engines that go on at these positions send all of the rest, and none of it is taken for a repeat.

        A partition takes what another one sends for a repeat unless it comes behind the newest from there.
        """
        for (partition, offset), numbers in self._open.items():
            if offset < positions[partition]:
                return False
            for content, places in numbers.items():
                for target in self._targets(codec.decode_command(content)):
                    if (offset, places[0]) <= self._newest.get((partition, target), (-1, -1)):
                        return False
        return True


def _content(command: AnyCommand) -> bytes:
    return codec.encode_command(msgspec.structs.replace(command, source=None))
