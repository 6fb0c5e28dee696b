"""Words of every process: its ends, and its most frequent warnings and errors."""

from __future__ import annotations

import math
import re
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from backbeat.compose.drill.report.result import Words
from backbeat.compose.drill.topology.keeper import Part
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Host, Topology

_LOUD = re.compile(r"\b(WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b")
_STAMP = re.compile(r"^\[?\d{4}-\d\d-\d\d[T ][\d:.,]+(?:Z|[+-]\d\d:?\d\d)?\]?\s*")
_NUMBERS = re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b\d[\d.,:]*\b")
#: Signals of ends that are always a defect.
_CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS")
_LINES_MAX = 5
_CHARACTERS_MAX = 200
_BYTES_MAX = 20 * 1024 * 1024
_ASK_SECONDS_MAX = 60.0


def words_of(topology: Topology, parts: Iterable[Part], seconds: float) -> list[Words]:
    """The words of all services in the last `seconds`; parts know their starts, and how they ended."""
    part_by_name = {part.name: part for part in parts}
    words = []
    for service in topology.services.values():
        try:
            text, unknown = _read_log(service, topology.host(service), seconds), ""
        except OSError as error:
            text, unknown = "", str(error)
        words.append(_words(service.name, text, unknown, part_by_name.get(service.name)))
    return words


def _read_log(service: Service, host: Host, seconds: float) -> str:
    """The end of a service's log. OSError: it cannot be read; the text says why."""
    if service.log:
        path = Path(service.log)
        if not path.exists():
            raise OSError(f"there is no log {path} on this machine")
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - _BYTES_MAX))
            return log.read().decode(errors="replace")
    if not service.log_command:
        raise OSError("what it said is not known: the topology has neither log nor log_command of it")
    command = [*host.run, *(word.replace("{seconds}", f"{math.ceil(seconds)}") for word in service.log_command)]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=_ASK_SECONDS_MAX)
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None)
        reason = output.decode(errors="replace").strip() if isinstance(output, bytes) and output else str(error)
        raise OSError(f"its log cannot be read by `{shlex.join(command)}`: {reason}") from error
    return done.stdout[-_BYTES_MAX:].decode(errors="replace")


def crashes(words: Iterable[Words]) -> list[str]:
    """Lines about processes that ended themselves by a defect: no fault sends these signals."""
    return [
        f"{each.service} crashed: {reason}, {_times(count)}"
        for each in words
        for reason, count in each.ends.items()
        if reason.endswith(_CRASHES)
    ]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _words(service: str, log: str, unknown: str, part: Part | None) -> Words:
    kinds: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for line in log.splitlines():
        if _LOUD.search(line):
            text = _STAMP.sub("", line)[:_CHARACTERS_MAX]
            kind = _NUMBERS.sub("…", text)
            kinds[kind] += 1
            examples.setdefault(kind, text)
    return Words(
        service=service,
        starts=part.starts if part else 0,
        ends=dict(Counter(reason for _, reason in part.deaths)) if part else {},
        warnings=kinds.total(),
        lines=[f"{count} times: {examples[kind]}" for kind, count in kinds.most_common(_LINES_MAX)],
        unknown=unknown,
    )
