"""Words of every process: its ends, and its most frequent warnings and errors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from backbeat.compose.drill.report.result import Words
from backbeat.compose.drill.topology.keeper import Part
from backbeat.compose.drill.topology.service import Service

_LOUD = re.compile(r"\b(WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b")
_STAMP = re.compile(r"^\[?\d{4}-\d\d-\d\d[T ][\d:.,]+(?:Z|[+-]\d\d:?\d\d)?\]?\s*")
_NUMBERS = re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b\d[\d.,:]*\b")
#: Signals of ends that are always a defect.
_CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS")
_LINES_MAX = 5
_CHARACTERS_MAX = 200
_BYTES_MAX = 20 * 1024 * 1024


def words_of(services: Iterable[Service], parts: Iterable[Part]) -> list[Words]:
    """The words of services whose log is on this machine; parts know their starts, and how they ended."""
    part_by_name = {part.name: part for part in parts}
    return [_words(service, part_by_name.get(service.name)) for service in services if service.log]


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


def _words(service: Service, part: Part | None) -> Words:
    kinds: Counter[str] = Counter()
    examples: dict[str, str] = {}
    path = Path(service.log)
    if path.exists():
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - _BYTES_MAX))
            for line in log.read().decode(errors="replace").splitlines():
                if _LOUD.search(line):
                    text = _STAMP.sub("", line)[:_CHARACTERS_MAX]
                    kind = _NUMBERS.sub("…", text)
                    kinds[kind] += 1
                    examples.setdefault(kind, text)
    return Words(
        service=service.name,
        starts=part.starts if part else 0,
        ends=dict(Counter(reason for _, reason in part.deaths)) if part else {},
        warnings=kinds.total(),
        lines=[f"{count} times: {examples[kind]}" for kind, count in kinds.most_common(_LINES_MAX)],
    )
