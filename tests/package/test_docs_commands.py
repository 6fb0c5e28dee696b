"""Every command that a document shows can be typed: `backbeat …` with its options, `make …`, `python -m …`."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from backbeat.compose.cli.program import backbeat

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

#: A block of a language that is none of the shell's.
_OTHER_BLOCK = re.compile(r"^ *```(?!sh\b|text\b)\w.*?^ *```$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^( *)```\w*.*?\n(.*?)^\1```$|^(?: {4}[^\n]*\n?)+", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
#: Where a command ends: another one, a comment, a column of remarks. A bar before an option is a choice.
_END = r"(?= \| (?!-)| && |;|   +| # |$)"
#: What another command puts into one.
_INNER = re.compile(r"\$\((.*?)\)")
_COMMAND = re.compile(rf"(?:^|(?<=[\s(/]))backbeat (?=[a-z])(.*?){_END}", re.MULTILINE)
#: What the reader has to put something in place of.
_PLACEHOLDER = re.compile(r"…|\[|\b[A-Z]{2,}\b|\bN\b")


class Command(NamedTuple):
    document: str
    words: str
    #: In a block of its own, to be copied; else in a sentence, where arguments may be left out.
    whole: bool


def commands(path: Path) -> list[Command]:
    text = _OTHER_BLOCK.sub("", path.read_text()).replace("\\\n", " ")
    blocks = [match.group() for match in _BLOCK.finditer(text)]
    blocks += [inner for block in blocks for inner in _INNER.findall(block)]
    sentences = _INLINE.findall(_BLOCK.sub("", text))
    name = str(path.relative_to(ROOT))
    return [
        *(Command(name, words, whole=True) for block in blocks for words in _COMMAND.findall(_INNER.sub("…", block))),
        *(Command(name, words, whole=False) for sentence in sentences for words in _COMMAND.findall(sentence)),
    ]


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command and what is left for it."""
    command: click.Command = backbeat
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        _, inner, words = command.resolve_command(click.Context(command), words)
        assert inner is not None
        command = inner
    return command, words


ALL = sorted(set().union(*(commands(path) for path in DOCUMENTS)))


def test_commands_in_the_documents_are_found():
    assert len(ALL) > 100
    assert (
        Command(
            "docs/how-to/deployment.md", "engine --bootstrap-servers kafka-1:9092 --instance-id engine-1", whole=True
        )
        in ALL
    )
    assert Command("docs/reference/cli.md", "node retry -", whole=True) in ALL
    assert Command("docs/how-to/runbook.md", "user set NAME --activity-endpoint URL", whole=False) in ALL


@pytest.mark.parametrize("command", ALL, ids=lambda command: f"{command.document}: {command.words}")
def test_a_command_and_its_options_are_known(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    resolved, words = resolve(shlex.split(command.words))

    known = {option for parameter in resolved.params for option in (*parameter.opts, *parameter.secondary_opts)}
    asked = {option for word in words for option in re.findall(r"^\[?(--?[a-z][\w-]*)", word)}
    assert asked <= {*known, "--help"}
    if command.whole and not _PLACEHOLDER.search(command.words) and not isinstance(resolved, click.Group):
        for name in re.findall(r"\S+\.(?:jsonl?|key)\b", command.words):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()
        with resolved.make_context("backbeat", words):
            pass


def test_targets_of_make_are_in_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for path in DOCUMENTS
        for line in re.findall(r"(?:^ {4}|^|`)make ((?:[a-z]+ ?)+)", path.read_text(), re.MULTILINE)
        for target in line.split()
    }

    assert {"demo", "setup", "jars", "test"} <= named
    assert named <= targets


def test_modules_that_are_run_are_there():
    named = {name for path in DOCUMENTS for name in re.findall(r"python -m (backbeat[\w.]*)", path.read_text())}

    assert len(named) > 1
    assert [name for name in sorted(named) if importlib.util.find_spec(name) is None] == []
