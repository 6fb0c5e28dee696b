"""Plays of a soak: drawn by chance, again and again, of all that come beside a load which stays as it is."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator

from backbeat.compose.drill.plays.play import Play

#: Faults that are a load of their own; knobs of the generator are, too.
_LOADS = ("flood",)
_GENERATOR = "generator"


def is_drawn(play: Play) -> bool:
    """True where a soak may play it: beside the load, and not on request only."""
    return not play.on_request and play.fault not in _LOADS and play.targets != _GENERATOR


def draw(plays: Iterable[Play], chance: random.Random) -> Iterator[Play]:
    """The plays that a soak may play, in rounds: each once, in an order by chance, then all of them again."""
    drawn = [play for play in plays if is_drawn(play)]
    while drawn:
        yield from chance.sample(drawn, len(drawn))


def until_over(plays: Iterable[Play], seconds: float) -> Iterator[Play]:
    """The plays that begin within a time."""
    end = time.monotonic() + seconds
    for play in plays:
        if time.monotonic() >= end:
            return
        yield play
