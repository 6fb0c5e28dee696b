"""Faults that a test asks for: by name and number, or drawn from a seed."""

from __future__ import annotations

import enum
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from backbeat.errors import BackbeatError

T = TypeVar("T")

#: Faults that a seed draws for one attempt at most: after that it runs through, so that everything ends some day.
_HITS_MAX = 3


class FaultKind(enum.StrEnum):
    """Kinds of faults."""

    #: The handler does not run; the attempt fails.
    FAIL = "fail"
    #: The handler runs, then its worker dies before it has answered: the activity comes again, the same attempt.
    CRASH = "crash"
    #: The activity comes twice, to two workers: the handler runs twice, and the second answer is too late.
    DUPLICATE = "duplicate"
    #: The activity's worker hangs: nobody answers, so its deadline passes.
    HANG = "hang"
    #: A client's command is applied, and the client hears nothing of it (Timeout).
    LOSE_REPLY = "lose_reply"
    #: The engine was restarted: it sends a command a second time.
    REPEAT = "repeat"


class Injected(NamedTuple):
    """A fault that happened."""

    kind: FaultKind
    what: str  #: the activity's name, or what the client asked
    attempt: int = 0


class Faults:
    """Faults to inject. Those that were injected are in `injected`, oldest first."""

    def __init__(self) -> None:
        self.injected: list[Injected] = []
        self._planned: dict[tuple[FaultKind, str | None], int] = defaultdict(int)
        self._messages: dict[str, str] = {}
        self._random = random.Random(0)  # noqa: S311 - a test must be able to repeat it
        self._odds: dict[FaultKind, float] = {}
        self._hits: dict[tuple[object, ...], int] = defaultdict(int)
        self._shuffles = False

    # --- by name and number ----------------------------------------------------------------------------------------

    def fail(self, name: str, times: int = 1, message: str = "injected by the test") -> None:
        """The next `times` attempts of the activity of this name fail before their handler is called."""
        self._messages[name] = message
        self._plan(FaultKind.FAIL, name, times)

    def crash(self, name: str, times: int = 1) -> None:
        """The handler runs, the worker dies before it has answered, and the same attempt comes again."""
        self._plan(FaultKind.CRASH, name, times)

    def duplicate(self, name: str, times: int = 1) -> None:
        """The activity comes twice, and its handler runs twice."""
        self._plan(FaultKind.DUPLICATE, name, times)

    def hang(self, name: str, times: int = 1) -> None:
        """The activity's worker dies, and it comes to nobody else: its deadline passes (move the clock)."""
        self._plan(FaultKind.HANG, name, times)

    def lose_reply(self, times: int = 1) -> None:
        """The next `times` commands of clients are applied, and the client gets a Timeout."""
        self._plan(FaultKind.LOSE_REPLY, None, times)

    # --- from a seed -----------------------------------------------------------------------------------------------

    def draw(
        self,
        seed: int,
        *,
        fail: float = 0.0,
        crash: float = 0.1,
        duplicate: float = 0.1,
        hang: float = 0.0,
        repeat: float = 0.1,
        shuffle: bool = True,
    ) -> None:
        """Faults by chance from now on: each number is the odds, 0 to 1. The same seed draws the same ones.

        `repeat`: an engine's command is sent twice. `shuffle`: activities come in any order, and so do commands of
        different subjects. One attempt is hit three times at most. `fail` and `hang` cost retries and time.
        """
        odds = {
            FaultKind.FAIL: fail,
            FaultKind.CRASH: crash,
            FaultKind.DUPLICATE: duplicate,
            FaultKind.HANG: hang,
            FaultKind.REPEAT: repeat,
        }
        wrong = [f"{kind} = {chance:g}" for kind, chance in odds.items() if not 0 <= chance <= 1]
        if wrong:
            raise BackbeatError(f"odds are from 0 to 1: {', '.join(wrong)}")
        self._random.seed(seed)
        self._odds = odds
        self._shuffles = shuffle

    def stop(self) -> None:
        """No fault any more, planned or drawn: what is under way can come to its end."""
        self._planned.clear()
        self._odds = {}
        self._shuffles = False

    # --- queries of the engine and the workers -----------------------------------------------------------------------

    def strikes(self, kind: FaultKind, name: str, attempt: int, *key: object) -> bool:
        """True where this fault happens now; `key` tells one activity from others of its name."""
        if not self._is_planned(kind, name):
            if self._hits[name, attempt, *key] >= _HITS_MAX or not self._is_drawn(kind):
                return False
            self._hits[name, attempt, *key] += 1
        self.injected.append(Injected(kind, name, attempt))
        return True

    def message(self, name: str) -> str:
        """Message of an injected failure of this activity."""
        return self._messages.get(name, "injected by the test")

    def loses_reply(self, operation: str) -> bool:
        """True where the answer to a client's command is lost."""
        if not self._is_planned(FaultKind.LOSE_REPLY, None):
            return False
        self.injected.append(Injected(FaultKind.LOSE_REPLY, operation))
        return True

    def times(self) -> int:
        """Number of times that an engine's command is sent."""
        if not self._is_drawn(FaultKind.REPEAT):
            return 1
        self.injected.append(Injected(FaultKind.REPEAT, "a command of the engine"))
        return 2

    def order(self, items: Sequence[T]) -> list[T]:
        """The items as they are, or in any order."""
        return self._random.sample(items, len(items)) if self._shuffles else list(items)

    def choose(self, items: Sequence[T]) -> T:
        """The next of the items: the first, or any."""
        return self._random.choice(items) if self._shuffles else items[0]

    @property
    def planned(self) -> Mapping[tuple[FaultKind, str | None], int]:
        """Faults that were asked for by name and have not happened yet: (kind, name) -> number."""
        return {key: times for key, times in self._planned.items() if times}

    def _plan(self, kind: FaultKind, name: str | None, times: int) -> None:
        if times < 1:
            raise BackbeatError(f"times is {times}; it must be 1 or more")
        self._planned[kind, name] += times

    def _is_planned(self, kind: FaultKind, name: str | None) -> bool:
        if self._planned.get((kind, name), 0) < 1:
            return False
        self._planned[kind, name] -= 1
        return True

    def _is_drawn(self, kind: FaultKind) -> bool:
        odds = self._odds.get(kind, 0.0)
        return odds > 0 and self._random.random() < odds
