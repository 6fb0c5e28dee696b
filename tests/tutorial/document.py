"""The code blocks of a tutorial, as its Markdown has them: nothing of it is written a second time.

A block's first line says what it is, behind the word that colours it:

    ```sh terminal-1             typed there, line by line; each must end well
    ```sh terminal-1 runs-on     its last command goes on until Ctrl-C
    ```text terminal-1           what has come there since the last such block
    ```text terminal-1 ctrl-c    what comes when Ctrl-C is pressed in all terminals, the newest command first
    ```python ~/shop/orders.py   a file with this content
    ```python ~/shop/orders.py as-it-is   one that has this content already

In shown output `…` stands for anything, alone on a line for any lines, and runs of spaces are as one: columns are as
wide as what they hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+) ([^\n]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^```", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Commands:
    """What is typed in a terminal."""

    line: int
    terminal: str
    commands: list[str]
    runs_on: bool


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the terminal then shows."""

    line: int
    terminal: str
    text: str
    after_ctrl_c: bool

    @property
    def pattern(self) -> re.Pattern[str]:
        """Matches the output: its lines, each with its end."""
        return re.compile("".join("(?:.*\n)*" if line == "…" else _of_line(line) for line in self.text.splitlines()))


@dataclass(frozen=True, kw_only=True)
class File:
    """A file as it is to be, or as it is."""

    line: int
    path: str
    content: str
    as_it_is: bool


Step = Commands | Shown | File


def read(path: Path) -> list[Step]:
    """The blocks of a document, in order. AssertionError: one is none of those above."""
    text = path.read_text()
    blocks = list(_BLOCK.finditer(text))
    assert 2 * len(blocks) == len(_FENCE.findall(text)), "a block does not say what it is"
    return [_step(text.count("\n", 0, block.start()) + 1, *block.groups()) for block in blocks]


def _step(line: int, language: str, mark: str, content: str) -> Step:
    match language, mark.split():
        case "sh", [terminal, *words] if words in ([], ["runs-on"]):
            return Commands(line=line, terminal=terminal, commands=content.splitlines(), runs_on=bool(words))
        case "text", [terminal, *words] if words in ([], ["ctrl-c"]):
            return Shown(line=line, terminal=terminal, text=content, after_ctrl_c=bool(words))
        case _, [name, *words] if name.startswith("~/") and words in ([], ["as-it-is"]):
            return File(line=line, path=name.removeprefix("~/"), content=content, as_it_is=bool(words))
    raise AssertionError(f"line {line}: what is {language} {mark}?")


def _of_line(line: str) -> str:
    return ".*".join(re.sub(r"(\\ )+", " +", re.escape(part)) for part in line.split("…")) + "\n"
