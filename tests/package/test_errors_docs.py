"""docs/reference/errors.md has a row for every error that the code knows, and for no other."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from backbeat import errors as sdk
from backbeat.compose.cli.exit_codes import Exit
from backbeat.errors import Rejected, rejected
from backbeat.gateway.http import errors as http
from backbeat.gateway.openapi.schemas import _ERROR_CLASSES
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.replies import Reason, Rejection
from backbeat.streams.process import termination
from backbeat.testing import NothingDue

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "reference" / "errors.md").read_text()
SOURCES = [path for folder in ("gateway", "schemas", "sdk", "streams") for path in (ROOT / folder).rglob("*.py")]


@cache
def syntax(*kinds: type[ast.expr]) -> list[Any]:
    """The expressions of these kinds in the sources. Not at import, where all who collect tests would parse them."""
    return [node for path in SOURCES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]


def rows(heading: str, table: int = 0) -> list[list[str]]:
    """The cells of the table with this number below a heading, without its head."""
    section = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    lines = next(part for part in section if part.startswith(f"{heading}\n")).splitlines()
    tables = "\n".join(line if line.startswith("|") else "" for line in lines).strip("\n")
    table_rows = re.split(r"\n{2,}", tables)[table].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table_rows]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]*)`", cell)


def test_every_exception_of_the_sdk():
    known = {name for name, kind in vars(sdk).items() if isinstance(kind, type) and issubclass(kind, sdk.BackbeatError)}

    assert [row[0] for row in rows("In Python")].count("`Rejected`") == 1
    assert {quoted(row[0])[0] for row in rows("In Python")} == known | {NothingDue.__name__}


def test_every_reason_and_what_it_is_in_python_and_over_http():
    documented = {quoted(row[0])[0]: (quoted(row[1])[0], row[2]) for row in rows("Reasons of a refusal")}

    assert set(documented) == set(Reason)
    for reason in Reason:
        error: Rejected = rejected(Rejection(reason, "why"))
        refusal = http.refused(error, "node")
        assert documented[reason] == (type(error).__name__, f"{refusal.status} `{refusal.body.error_class}`")


def test_every_limit_is_named():
    (row,) = [row for row in rows("Reasons of a refusal") if row[0] == "`limit_exceeded`"]
    # How much one command does at a time is no limit of anybody's.
    limits = {name for name in Settings.__struct_fields__ if name.endswith("_max")} - {"slice_nodes_max"}

    assert set(quoted(row[3])) - {"backbeat settings show"} == limits


def test_every_status_and_error_class_of_the_gateway():
    refusals = [
        http.invalid(""),
        http.invalid_value(""),
        http.unauthorized(),
        http.forbidden(""),
        http.not_found(),
        http.method_not_allowed("GET", "PUT"),
        http.too_large(""),
        http.too_many(""),
        http.unavailable("", "Backbeat::Timeout"),
        http.unavailable("", "Backbeat::Unavailable"),
        http.defect(),
        *(http.refused(rejected(Rejection(reason, "")), "") for reason in Reason),
    ]
    known = {(str(refusal.status), getattr(refusal.body, "error_class", "")) for refusal in refusals}
    classes = {name for path in SOURCES for name in re.findall(r'"((?:Backbeat|ActiveRecord)::\w+)"', path.read_text())}

    documented = {(row[0], *(quoted(row[1]) or [""])) for row in rows("Over HTTP")}
    assert documented == known
    assert {name for _, name in documented if name} == classes
    assert {name for _, name in documented if name} - set(_ERROR_CLASSES) == {"Backbeat::Error"}


def test_every_exit_code():
    assert [row[0] for row in rows("Exit codes")] == [str(int(code)) for code in Exit]
    # Besides those of their own: in order, refused at the start, and click's.
    assert [row[0] for row in rows("Exit codes", 1)] == [
        "0",
        "1",
        "2",
        str(termination.ENDED),
        str(termination.EXIT_INCONSISTENT_STATE),
    ]


def test_every_reason_of_a_dead_letter():
    documented = {reason for row in rows("Dead letters") for reason in quoted(re.sub(r"\[.*?\]\(.*?\)", "", row[0]))}
    texts = said_by("DecodeError") | said_by("UnknownSchemaError")
    known = {re.sub(r" `[^`]*`", " …", text) for text in texts} | {"defect: …: …"}

    refusals = {"not_found: …", "limit_exceeded: …", "invalid_parameters: …"}
    assert {reason for reason in documented if reason.partition(":")[0] in set(Reason)} == refusals
    assert {reason for reason in documented if reason.partition(":")[0] not in set(Reason)} == known


def said_by(exception: str) -> set[str]:
    """The texts with which the code makes an exception, `…` for what is put into them."""
    named = [
        call
        for call in syntax(ast.Call)
        if exception in {getattr(call.func, "id", None), getattr(call.func, "attr", None)}
    ]
    return {_text(raised.args[0]) for raised in named}


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(_text(part) for part in values)
        case _:
            return "…"


@pytest.mark.parametrize("row", rows("In a node"), ids=lambda row: row[0])
def test_what_a_node_says_is_said_by_the_code(row):
    words = [part for part in quoted(row[0])[0].split("…") if part.strip()]
    texts = [_text(text) for text in syntax(ast.JoinedStr, ast.Constant)]

    assert any(all(word in text for word in words) for text in texts), words
