"""Capsule: a process that carries out one order, and takes back what it did.

    backbeat drill capsule --key-file KEY --folder FOLDER < order.json

It ends the fault when its time is over, when somebody with the key says so, when the tower has been silent for too
long, or when it is asked to end (SIGTERM); then it looks for what is left and says so. `--undo` takes back what a
capsule that was killed had injected.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import msgspec

from backbeat.compose.drill.capsule.door import Abortion, Door
from backbeat.compose.drill.capsule.order import Order, OrderError, read_key, read_order
from backbeat.compose.drill.capsule.state import EXIT_NOTHING, CapsuleState, state_path
from backbeat.compose.drill.faults.catalogue import make_fault
from backbeat.compose.drill.faults.fault import Fault, FaultError
from backbeat.schemas.requests.decoding import from_json

#: Turns of a fault that goes on.
ACT_SECONDS = 0.05
#: How long it stays for somebody to read its last state.
_LINGER_SECONDS_MAX = 10.0
_EXIT_REFUSED = 2


class Capsule:
    """Run of one order."""

    def __init__(self, order: Order, key: bytes, folder: Path) -> None:
        """OrderError: it was carried out before. FaultError: there is no such fault."""
        self._order = order
        self._folder = folder
        self._fault = fault_of(order, folder)
        self._end: Abortion | None = None
        self._lock = threading.RLock()  # A signal's handler may come within `end`.
        self._told = threading.Event()
        #: True once nobody asks any more
        self._is_alone = False
        self._state = CapsuleState(
            id=order.id,
            fault=order.fault,
            targets=[target.name for target in order.targets],
            host=order.host,
            pid=os.getpid(),
        )
        try:
            self._state.create(folder)
        except FileExistsError as error:
            raise OrderError("it was carried out before") from error
        self._door = Door(key, order.address, self._tell, self.end)
        self._state.url = self._door.url
        self._state.write(folder)

    def end(self, abortion: Abortion) -> None:
        """End the fault; the first to say so counts."""
        with self._lock:
            self._end = self._end or abortion

    def run(self) -> CapsuleState:
        """Inject, act until something ends it, take back, look for what is left."""
        state = self._state
        try:
            self._act()
        except Exception as error:  # noqa: BLE001 - as in `_act`
            self.end(Abortion("the capsule", f"it stumbled: {type(error).__name__}: {error}"))
        finally:
            left = _take_back(self._fault)
        ending = self._end or Abortion("the capsule", "it ended")
        state.ended_at, state.ended_by, state.reason = time.time(), ending.by, ending.reason
        self._keep()
        state.left = [*left, *_look_for_rest(self._fault)]
        state.phase = "refused" if state.phase == "refused" else "ended"
        self._keep()
        if not self._is_alone:
            self._told.wait(_LINGER_SECONDS_MAX)
        self._door.close()
        return state

    def _act(self) -> None:
        """Inject the fault and let it go on until something ends it."""
        state, fault = self._state, self._fault
        state.phase = "acting"
        try:
            fault.inject()
        except FaultError as error:
            state.phase, state.reason = "refused", str(error)
            self.end(Abortion("the capsule", str(error)))
        except Exception as error:  # noqa: BLE001 - whatever it was: it is taken back
            self.end(Abortion("the capsule", f"it could not be injected: {error}"))
        state.injected_at = time.time()
        self._keep()
        injected_at = time.monotonic()
        while self._end is None:
            try:
                fault.act()
            except Exception as error:  # noqa: BLE001 - as above
                self.end(Abortion("the capsule", f"it could not go on: {type(error).__name__}: {error}"))
            self._look(injected_at)
            time.sleep(ACT_SECONDS)

    def _look(self, injected_at: float) -> None:
        """End it when its time is over, or when nobody watches any more."""
        now = time.monotonic()
        silence = now - self._door.heard_at
        if now - injected_at >= self._order.seconds:
            self.end(Abortion("its time", f"it lasted {self._order.seconds:g} s, as agreed"))
        elif time.time() > self._order.until:
            self.end(Abortion("its time", "the order has expired"))
        elif silence > self._order.tower_silence_seconds:
            self._is_alone = True
            self.end(Abortion("the capsule", f"the tower is gone: nobody has asked for {silence:.0f} s"))

    def _tell(self) -> bytes:
        if self._state.left is not None:
            self._told.set()
        self._state.notes = self._fault.notes
        return msgspec.json.encode(self._state)

    def _keep(self) -> None:
        self._state.notes = self._fault.notes
        try:
            self._state.write(self._folder)
        except OSError as error:
            # Its disk may be the one that it has filled. The tower is told all the same.
            self._fault.note(f"its state could not be kept: {error}")


def fault_of(order: Order, folder: Path) -> Fault:
    """The fault of an order, which may keep files in a folder. FaultError: there is none of its name."""
    arguments = {**order.arguments, "order": order.id, "folder": str(folder)}
    return make_fault(order.fault, arguments, order.targets, random.Random(order.seed))  # noqa: S311 - no secret


def run_capsule(key_file: Path, folder: Path, *, undo: bool) -> int:
    """Carry out the order on standard input; the exit code: 0 nothing is left, 1 something is, 2 refused, 3 no undo."""
    try:
        key = read_key(key_file)
        order = read_order(sys.stdin.buffer.read())
        # What has to be taken back is taken back late, too.
        order.check(key, socket.gethostname(), order.issued_at if undo else None)
        if undo:
            return _undo(order, folder)
        capsule = Capsule(order, key, folder)
    except (OrderError, FaultError) as error:
        print(f"The order is refused: {error}.", file=sys.stderr)
        return _EXIT_REFUSED
    signal.signal(signal.SIGTERM, lambda *_: capsule.end(Abortion("the host", "the capsule was told to end (SIGTERM)")))
    # A terminal's Ctrl-C is for the tower, whose silence then tells.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    state = capsule.run()
    return 1 if state.left else 0


def _take_back(fault: Fault) -> list[str]:
    """Take a fault back; a line where that failed."""
    try:
        fault.abort()
    except Exception as error:  # noqa: BLE001 - it is said, and what is left is looked for all the same
        return [f"it could not be taken back: {type(error).__name__}: {error}"]
    return []


def _look_for_rest(fault: Fault) -> list[str]:
    """Lines about what is left of a fault, or that it cannot be said."""
    try:
        return fault.check()
    except Exception as error:  # noqa: BLE001 - as above
        return [f"it is not known what is left: {type(error).__name__}: {error}"]


def _undo(order: Order, folder: Path) -> int:
    path = state_path(folder, order.id)
    if not path.exists():
        print(f"Nothing is taken back: it was not carried out here, there is no {path}.", file=sys.stderr)
        return EXIT_NOTHING
    if from_json(path.read_bytes(), CapsuleState).left == []:
        print("Nothing is taken back: nothing of it is left.", file=sys.stderr)
        return EXIT_NOTHING
    fault = fault_of(order, folder)
    left = [*_take_back(fault), *_look_for_rest(fault)]
    CapsuleState(
        id=order.id,
        fault=order.fault,
        targets=[target.name for target in order.targets],
        host=order.host,
        phase="ended",
        ended_at=time.time(),
        ended_by="the tower",
        reason="the capsule had died; another process took the fault back",
        left=left,
        notes=fault.notes,
    ).write(folder)
    return 1 if left else 0
