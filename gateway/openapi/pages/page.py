"""The HTTP API as one HTML page, made from the OpenAPI document, without a script."""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

from backbeat.gateway.http.routing import Access, Route
from backbeat.gateway.openapi.document import FORM, NOTES
from backbeat.gateway.openapi.operation_doc import JSON
from backbeat.gateway.openapi.pages.style import STYLE

_ACCESS = {
    Access.PUBLIC: "anybody",
    Access.OPEN: "anybody, unless every call asks for a token",
    Access.CLIENT: "Client-Id",
    Access.WRITER: "Client-Id; token with --require-auth-token",
}
_CODE = re.compile(r"`([^`]+)`")
#: Depth to which fields of nested objects are listed; the example has the rest.
_DEPTH_MAX = 2

_SETTING = "export BACKBEAT=http://127.0.0.1:9292 CLIENT_ID=4c5c9f4e-0a7c-4bb0-9a64-6f1d5c0e7a11"


def page(routes: Iterable[Route], document: dict[str, Any]) -> str:
    """The page, as HTML."""
    return _Page(list(routes), document).text()


class _Page:
    def __init__(self, routes: list[Route], document: dict[str, Any]) -> None:
        self._routes = routes
        self._document = document

    def text(self) -> str:
        info = self._document["info"]
        title = f"{info['title']} {info['version']}: the HTTP API"
        tags = [tag["name"] for tag in self._document["tags"]]
        parts = [
            f"<h1>{_text(title)}</h1>",
            f'<p>For programs: <a href="openapi.json">openapi.json</a>. Examples want</p><pre>{_text(_SETTING)}</pre>',
            *(f"<h2>{_text(name)}</h2><p>{_prose(text)}</p>" for name, text in NOTES.items()),
            *(part for tag in tags for part in self._group(tag)),
        ]
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{STYLE}</style></head>\n<body>{self._contents(tags)}<main>\n"
            + "\n".join(parts)
            + "\n</main></body></html>\n"
        )

    def _contents(self, tags: list[str]) -> str:
        lines = []
        for tag in tags:
            lines.append(f"<h2>{_text(tag)}</h2>")
            for route, operation in self._of_tag(tag):
                lines.append(
                    f'<a href="#{operation["operationId"]}" title="{_text(route.summary)}">'
                    f"{_method(route)} {_path(route.path)}</a>"
                )
        return f"<nav>{''.join(lines)}</nav>"

    def _of_tag(self, tag: str) -> Iterator[tuple[Route, dict[str, Any]]]:
        for route in self._routes:
            operation = self._document["paths"][route.path][route.method.lower()]
            if tag in operation["tags"]:
                yield route, operation

    def _group(self, tag: str) -> Iterator[str]:
        yield f'<h2 class="group">{_text(tag.capitalize())}</h2>'
        for route, operation in self._of_tag(tag):
            yield self._call(route, operation)

    # --- one call ----------------------------------------------------------------------------------------------------

    def _call(self, route: Route, operation: dict[str, Any]) -> str:
        old = "".join(f"<br>Old clients: <code>{_text(path)}</code>" for path in route.old_paths)
        parts = [
            f"<h3>{_method(route)} {_path(route.path)}</h3>",
            f"<p><b>{_text(route.summary)}.</b> {_prose(operation.get('description', ''))}</p>",
            f'<p class="small">Who may call: {_text(_ACCESS[route.access])}{old}</p>',
            self._parameters(operation),
            self._body(operation),
            self._answers(operation),
            f"<h4>Example</h4><pre>{_text(_curl(route, operation))}</pre>",
        ]
        return f'<section id="{operation["operationId"]}">{"".join(parts)}</section>'

    def _parameters(self, operation: dict[str, Any]) -> str:
        rows = [
            (
                _name(parameter["name"], required=parameter.get("required", False)),
                parameter["in"],
                _text(self._kind(parameter["schema"])),
                _prose(parameter.get("description", "")),
            )
            for parameter in map(self._resolved, operation["parameters"])
        ]
        return "<h4>Parameters</h4>" + _table(("name", "in", "type", ""), rows)

    def _body(self, operation: dict[str, Any]) -> str:
        body = operation.get("requestBody")
        if body is None:
            return ""
        content = body["content"]
        if JSON not in content:
            (media_type,) = content
            return f"<h4>Body: {_text(media_type)}</h4>"
        example = json.dumps(content[JSON]["example"], indent=2, ensure_ascii=False)
        need = "" if body["required"] else ", may be left out"
        fields = self._fields(content[JSON]["schema"]) + self._of_form_alone(content)
        return f"<h4>Body: JSON or a form{need}</h4>{fields}<pre>{_text(example)}</pre>"

    def _of_form_alone(self, content: dict[str, Any]) -> str:
        """Fields that differ in a form."""
        in_json, in_form = (self._resolved(content[kind]["schema"]).get("properties", {}) for kind in (JSON, FORM))
        form_fields = {name: value for name, value in in_form.items() if in_json.get(name) != value}
        return f"<p>In a form:</p>{self._fields({'properties': form_fields})}" if form_fields else ""

    def _answers(self, operation: dict[str, Any]) -> str:
        parts = []
        rows = []
        for status, answer in operation["responses"].items():
            response = self._resolved(answer)
            ((media_type, content),) = response["content"].items()
            schema = content["schema"]
            headers = ", ".join(name for name in response["headers"])
            rows.append(
                (f"<b>{status}</b>", _text(self._kind(schema)), _prose(response["description"]), _text(headers))
            )
            if status.startswith("2"):
                example = content["example"]
                is_text = media_type != JSON and isinstance(example, str)
                example_text = example if is_text else json.dumps(example, indent=2, ensure_ascii=False)
                parts.append(
                    f"<details><summary>Answer {status}: {_text(self._kind(schema))}</summary>"
                    f"{self._fields(schema)}<pre>{_text(example_text)}</pre></details>"
                )
        return "<h4>Answers</h4>" + _table(("status", "type", "", "headers"), rows) + "".join(parts)

    # --- schemas -----------------------------------------------------------------------------------------------------

    def _resolved(self, part: dict[str, Any]) -> dict[str, Any]:
        """A part of the document, with a reference followed."""
        reference = part.get("$ref")
        if reference is None:
            return part
        target = self._document
        for name in reference.removeprefix("#/").split("/"):
            target = target[name]
        return target

    def _kind(self, schema: dict[str, Any]) -> str:
        """Short name of a schema's type."""
        if "$ref" in schema:
            return str(schema["$ref"].rsplit("/", 1)[1])
        if "const" in schema or "enum" in schema:
            values = schema.get("enum", [schema.get("const")])
            return " | ".join(json.dumps(value) for value in values)
        kinds = schema.get("type", "any")
        kinds = [kinds] if isinstance(kinds, str) else kinds
        words = {
            "string": {"uuid": "UUID", "date-time": "time"}.get(schema.get("format", ""), "text"),
            "integer": "whole number",
        }
        if "items" in schema:
            words["array"] = f"list of {self._kind(schema['items'])}"
        text = " | ".join(words.get(kind, kind) for kind in kinds)
        if "default" in schema:
            text += f" ({schema['default']})"
        return text

    def _fields(self, schema: dict[str, Any]) -> str:
        rows = list(self._field_rows(schema, "", 0))
        return _table(("field", "type", ""), rows) if rows else ""

    def _field_rows(self, schema: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, str, str]]:
        resolved = self._resolved(schema)
        if "items" in resolved:
            resolved, prefix = self._resolved(resolved["items"]), prefix + "[]."
        required = resolved.get("required", ())
        for name, value in resolved.get("properties", {}).items():
            yield (
                _name(prefix + name, required=name in required),
                _text(self._kind(value)),
                _prose(self._resolved(value).get("description", "")),
            )
            if depth < _DEPTH_MAX and value != {"$ref": schema.get("$ref")} and name not in ("children", "options"):
                yield from self._field_rows(value, f"{prefix}{name}{'' if 'items' in value else '.'}", depth + 1)


# --- curl ------------------------------------------------------------------------------------------------------------


def _curl(route: Route, operation: dict[str, Any]) -> str:
    """The call as a shell command."""
    path, query = route.path, {}
    for parameter in operation["parameters"]:
        if "example" not in parameter:
            continue
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(parameter["example"]))
        else:
            query[parameter["name"]] = parameter["example"]
    address = path + (f"?{urlencode(query, quote_via=quote)}" if query else "")
    words = ["curl" if route.method == "GET" else f"curl -X {route.method}", f'"$BACKBEAT{address}"']
    if route.access in (Access.CLIENT, Access.WRITER):
        words.append('-H "Client-Id: $CLIENT_ID"')
    body = operation.get("requestBody")
    if body is not None and JSON not in body["content"]:
        (media_type,) = body["content"]
        words += [f"-H 'Content-Type: {media_type}'", "--data-binary @record"]
    elif body is not None:
        words.append("-H 'Content-Type: application/json'")
        words.append("-d " + shlex.quote(json.dumps(body["content"][JSON]["example"], ensure_ascii=False)))
    return " \\\n  ".join(words)


# --- HTML ------------------------------------------------------------------------------------------------------------


def _text(text: str) -> str:
    return html.escape(text)


def _prose(text: str) -> str:
    """HTML of a text with `code` in it."""
    return _CODE.sub(r"<code>\1</code>", _text(text))


def _method(route: Route) -> str:
    return f'<b class="{route.method.lower()}">{route.method}</b>'


def _path(path: str) -> str:
    """HTML of a path, with line breaks allowed after slashes."""
    return f"<code>{_text(path).replace('/', '/<wbr>')}</code>"


def _name(name: str, *, required: bool) -> str:
    return f"<code>{_text(name)}</code>" + ('<span title="must be given"> *</span>' if required else "")


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{title}</th>" for title in titles)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{lines}</table>"
