"""End of a run that is under way, by somebody else than its tower."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from backbeat.compose.drill.capsule.door import Abortion, ask
from backbeat.compose.drill.capsule.order import OrderError, read_key
from backbeat.compose.drill.capsule.state import read_states
from backbeat.compose.drill.tower import ABORT_FILE


def abort_run(path: Path, by: str) -> Iterator[str]:
    """End a run: tell its tower, and each capsule that is there, also where the tower is gone; lines about it."""
    (path / ABORT_FILE).write_text(by)
    yield f"Run {path.name}: nothing more is played."
    try:
        key = read_key(path / "key")
    except OrderError as error:
        yield f"No capsule was begun: {error}."
        return
    for state in read_states(path / "capsules"):
        if state.phase not in ("begun", "acting"):
            continue
        try:
            ask(key, state.url, "/abort", Abortion(by, "aborted by hand"))
        except OSError as error:
            yield f"{state.fault} on {', '.join(state.targets)}: the capsule does not answer ({error})."
        else:
            yield f"{state.fault} on {', '.join(state.targets)}: ended."
