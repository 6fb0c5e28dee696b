"""Arguments that name workflows and nodes: by id, by name and subject, or by ids on standard input."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

if TYPE_CHECKING:
    from backbeat import Client

STANDARD_INPUT = "-"
_NAME_AND_SUBJECT = 2

workflow_argument = click.argument("workflow", nargs=-1, required=True, metavar="ID|NAME SUBJECT")
workflows_argument = click.argument("workflow", nargs=-1, required=True, metavar="ID...|NAME SUBJECT|-")
node_argument = click.argument("node_id", type=click.UUID, metavar="ID")
nodes_argument = click.argument("node_id", nargs=-1, required=True, metavar="ID...|-")


def is_id(text: str) -> bool:
    """True for the text of a UUID."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def read_value(text: str) -> Any:
    """A value: the text as JSON, else the text itself. A text that is also JSON needs its quotes."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    except RecursionError:
        raise click.UsageError(f"{text[:40]!r}… is nested too deep") from None


def workflow_ids(client: Client, arguments: Sequence[str]) -> list[str]:
    """The ids of a workflow argument."""
    if len(arguments) == _NAME_AND_SUBJECT and not is_id(arguments[0]) and arguments[0] != STANDARD_INPUT:
        return [client.workflow_id(arguments[0], read_value(arguments[1]))]
    return read_ids(arguments)


def workflow_id(client: Client, arguments: Sequence[str]) -> str:
    """The only id of a workflow argument. UsageError: there are more."""
    ids = workflow_ids(client, arguments)
    if len(ids) != 1:
        raise click.UsageError(f"give one workflow, by its id or by NAME SUBJECT; these are {len(ids)}")
    return ids[0]


def read_ids(arguments: Sequence[str]) -> list[str]:
    """Ids of arguments, and those on standard input where an argument is `-`. Each once, in their order."""
    ids: dict[str, None] = {}
    for argument in arguments:
        if argument == STANDARD_INPUT:
            for line in click.get_text_stream("stdin"):
                if line.strip():
                    ids[_id_of_line(line.strip())] = None
        else:
            ids[_checked(argument)] = None
    return list(ids)


def _id_of_line(line: str) -> str:
    """An id, or the `id` of a line of JSON: the output of another command, with --json or --quiet."""
    if not line.startswith("{"):
        return _checked(line)
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise click.UsageError(f"standard input: this is no JSON: {line[:80]!r} ({error})") from error
    if not isinstance(row.get("id"), str):
        raise click.UsageError(f"standard input: this line has no id: {line[:80]!r}")
    return _checked(row["id"])


def _checked(text: str) -> str:
    if not is_id(text):
        raise click.UsageError(
            f"{text[:80]!r} is no id. Give ids (UUIDs), `-` for ids on standard input, or a workflow's NAME and SUBJECT"
        )
    return str(uuid.UUID(text))
