"""End of a run that is under way, by somebody else than its tower."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from backbeat.compose.drill.capsule.order import OrderError, read_key
from backbeat.compose.drill.capsule.remote import RemoteCapsule, read_launches
from backbeat.compose.drill.runs import ABORT_FILE

_END_SECONDS_MAX = 180.0


class AbortError(Exception):
    """Error of an abort that left something of a fault; the text names it."""


def abort_run(path: Path, by: str) -> Iterator[str]:
    """End a run: tell its tower, and each capsule that is there, also where the tower is gone; lines about it.

    Where a capsule is gone, too, its fault is taken back. AbortError: something is left.
    """
    (path / ABORT_FILE).write_text(by)
    yield f"Run {path.name}: nothing more is played."
    rest = []
    folder = path / "capsules"
    for launch in read_launches(folder):
        name = f"{launch.order.fault} on {', '.join(target.name for target in launch.order.targets)}"
        try:
            capsule = RemoteCapsule.launched(launch, read_key(Path(launch.key_file)), folder)
            if capsule.state.left is not None:
                continue
            state = capsule.take_back(by, "aborted by hand", _END_SECONDS_MAX)
        except (OrderError, OSError) as error:
            rest.append(f"{name}: {error}")
            continue
        if state.left:
            rest.append(f"{name}: {', '.join(state.left)}")
        else:
            yield f"{name}: ended."
    if rest:
        raise AbortError(f"left: {'; '.join(rest)}. What to do: see to these targets by hand")
