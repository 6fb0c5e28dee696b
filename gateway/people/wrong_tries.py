"""Wrong names and tokens of people, by the address that they come from: after ten in a minute no more are looked up.

Whoever has the right ones is let in all the same: a stranger behind the same proxy locks nobody out. Tokens are 32
random bytes, so that guessing on is no help.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict, deque

logger = logging.getLogger(__name__)

TRIES_MAX = 10
_SECONDS = 60.0
_ADDRESSES_MAX = 10_000


class WrongTries:
    """Wrong tries at one gateway: at the console's login and at its API together."""

    def __init__(self) -> None:
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()

    def seconds_left(self, address: str) -> int:
        """Seconds for which no further wrong try from there is taken; 0: it may be made."""
        tries = self._by_address.get(address)
        if tries is None or len(tries) < TRIES_MAX:
            return 0
        return max(0, math.ceil(_SECONDS - (time.monotonic() - tries[0])))

    def note(self, address: str) -> None:
        """Count a wrong try: before anything is waited for, or a hundred at once would be as many as one."""
        self._by_address.setdefault(address, deque(maxlen=TRIES_MAX)).append(time.monotonic())
        self._by_address.move_to_end(address)
        if len(self._by_address) > _ADDRESSES_MAX:
            self._by_address.popitem(last=False)

    def take_back(self, address: str) -> None:
        """Count the newest try no more: the name, or its token, had been added a moment before."""
        tries = self._by_address.get(address)
        if tries:
            tries.pop()
