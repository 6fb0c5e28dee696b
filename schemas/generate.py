"""Files of the schemas, from the structs and their documentation: docstrings, and the `#:` comment of each field.

They are for readers: whoever writes a client in another language, and schema registries. This package encodes and
decodes by the structs themselves (`named_types`), so a file that is behind does no harm but to its readers. Beside them
the fingerprints of today's records are kept, since computing them takes longer than the first record.
"""

from __future__ import annotations

import ast
import enum
import inspect
import io
import json
import re
import textwrap
import tokenize
from collections.abc import Iterator

from . import catalogue
from .catalogue import RECORDS, stand_alone
from .messages.queries import Query
from .messages.replies import ReplyRecord
from .messages.values import Command
from .named_types import REPLIES, TYPES, NamedType, Schema, word

_REPLY_NAMES = {answer.__name__: name for answer, name in REPLIES.items()}


def document() -> dict[str, Schema]:
    """Schemas of all named types with their documentation, each after those that it names."""
    return {name: _documented(named) for name, named in TYPES.items()}


def differences() -> Iterator[tuple[str, str]]:
    """Names of files that are not as they would be generated, and the text each should have; empty: it should go."""
    texts = {f"{name}.avsc": _text(schema) for name, schema in document().items()}
    texts[catalogue.FINGERPRINTS] = _text(
        {catalogue.digest(record.schema): catalogue.fingerprint(record.schema).hex() for record in RECORDS.values()}
    )
    paths = [*catalogue.FOLDER.glob("*.avsc"), *catalogue.FOLDER.glob(catalogue.FINGERPRINTS)]
    files = {path.name: path.read_text(encoding="utf-8") for path in paths}
    for name in sorted(texts.keys() | files.keys()):
        if texts.get(name) != files.get(name):
            yield name, texts.get(name, "")


def generate() -> Iterator[str]:
    """Write the files, and keep every version of a record in history/; a line for each file that changed."""
    for name, text in differences():
        if text:
            (catalogue.FOLDER / name).write_text(text, encoding="utf-8")
            yield f"wrote {name}"
        else:
            (catalogue.FOLDER / name).unlink()
            yield f"removed {name}: there is no such type any more"
    sources = document()
    for name, record in RECORDS.items():
        path = catalogue.HISTORY / f"{record.fingerprint.hex()}.avsc"
        if not path.exists():
            path.write_text(_text(stand_alone(name, sources), indent=1), encoding="utf-8")
            yield (
                f"kept {path.name}: a new version of {name}. What to do: its row in docs/reference/wire.md, and golden "
                "bytes of it in tests/schemas/golden."
            )


def _text(schema: Schema, indent: int = 2) -> str:
    return json.dumps(schema, indent=indent, ensure_ascii=False) + "\n"


def _documented(named: NamedType) -> Schema:
    source, schema = named.source, named.schema
    doc = source.doc if not isinstance(source, type) else _type_doc(schema["name"], source)
    head = {"type": schema["type"], "name": schema["name"], "namespace": schema["namespace"], "doc": doc}
    if "fields" not in schema:
        return head | {key: value for key, value in schema.items() if key not in head}
    comments = _comments(source)
    fields = []
    for field in schema["fields"]:
        attribute = named.attributes.get(field["name"], field["name"])
        assert attribute in comments, f"{source.__name__}.{attribute} has no `#:` comment: what does it mean?"
        described = {"name": field["name"], "type": field["type"], "doc": _sentence(comments[attribute])}
        fields.append(described | {key: value for key, value in field.items() if key == "default"})
    return head | {"fields": fields}


def _type_doc(name: str, source: type) -> str:
    """A type's docstring as one paragraph, and the meaning of each member of an enum."""
    if source is ReplyRecord:
        (answer,) = (answer for answer, reply in REPLIES.items() if reply == name)
        return f"Reply. {_type_doc(answer.__name__, answer)}"
    doc = " ".join((inspect.getdoc(source) or "").split())
    if issubclass(source, (Command, Query)):
        # The record of the answer, where the struct names the answer in it.
        doc = re.sub(r"Answer: [^.]*", lambda answers: _records(answers.group()), doc)
        return f"{'Command' if issubclass(source, Command) else 'Query'}. {doc}"
    if issubclass(source, enum.Enum):
        comments = _comments(source)
        meanings = [f"{word(member)}: {comments[member.name]}." for member in source if member.name in comments]
        return " ".join([doc, *meanings])
    return doc


def _records(answers: str) -> str:
    return re.sub(r"\w+", lambda name: _REPLY_NAMES.get(name.group(), name.group()), answers)


def _sentence(comment: str) -> str:
    return f"{comment[:1].upper()}{comment[1:]}{'' if comment.endswith('.') else '.'}"


def _comments(source: type) -> dict[str, str]:
    """The `#:` comment of each field or member: behind it, or on the lines above it."""
    comments: dict[str, str] = {}
    for base in reversed(source.__mro__):
        if base.__module__.partition(".")[0] not in {"builtins", "enum", "msgspec"}:
            comments |= _own_comments(textwrap.dedent(inspect.getsource(base)))
    return comments


def _own_comments(text: str) -> dict[str, str]:
    lines: dict[int, str] = {}
    above: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and token.string.startswith("#:"):
            lines[token.start[0]] = token.string.removeprefix("#:").strip()
            if not token.line[: token.start[1]].strip():
                above.add(token.start[0])
    comments: dict[str, str] = {}
    (definition,) = ast.parse(text).body
    for statement in definition.body if isinstance(definition, ast.ClassDef) else ():
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                first = statement.lineno
                while first - 1 in above:
                    first -= 1
                numbers = [*range(first, statement.lineno), statement.end_lineno]
                comment = " ".join(lines[number] for number in numbers if number in lines)
                if comment:
                    comments[name] = comment
            case _:
                pass
    return comments
