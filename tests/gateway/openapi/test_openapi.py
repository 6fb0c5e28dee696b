"""The description of the API: it is whole and valid, as document and as page. What it says: test_described_calls.py."""

import itertools
import re
from html.parser import HTMLParser

import jsonschema_rs
import pytest

from backbeat.gateway.api.routes import ROUTES
from backbeat.gateway.openapi import document
from backbeat.gateway.openapi.calls import CALLS
from backbeat.gateway.openapi.pages import page as docs_page

DOCUMENT = document.build(ROUTES, "test")
OPERATIONS = [
    (method, path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]


def operation_name(entry) -> str:
    return f"{entry[0].upper()} {entry[1]}"


# --- the document ----------------------------------------------------------------------------------------------------


def test_every_route_is_described_and_nothing_else():
    routes = {(route.method, path) for route in ROUTES for path in (route.path, *route.old_paths)}
    assert {(method.upper(), path) for method, path, _ in OPERATIONS} == routes
    assert set(CALLS) == {f"{route.method} {route.path}" for route in ROUTES}


def test_the_document_is_openapi():
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"].keys() >= {"title", "version"}
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)
    for reference in references(DOCUMENT):
        referenced(reference)


@pytest.mark.parametrize("entry", OPERATIONS, ids=operation_name)
def test_an_operation_is_whole(entry):
    _, path, operation = entry
    assert operation.keys() >= {"summary", "tags", "security", "responses"}
    parameters = [resolved(parameter) for parameter in operation["parameters"]]
    places = [(parameter["in"], parameter["name"]) for parameter in parameters]
    assert len(set(places)) == len(places)
    assert {name for place, name in places if place == "path"} == set(re.findall(r"{(\w+)}", path))
    assert all(parameter["required"] for parameter in parameters if parameter["in"] == "path")
    assert len([status for status in operation["responses"] if status.startswith("2")]) == 1
    for response in map(resolved, operation["responses"].values()):
        assert response["description"]
        assert "X-backbeat-tid" in response["headers"]
    for scheme in itertools.chain.from_iterable(operation["security"]):
        assert scheme in DOCUMENT["components"]["securitySchemes"]


@pytest.mark.parametrize("entry", OPERATIONS, ids=operation_name)
def test_examples_are_as_they_say(entry):
    _, _, operation = entry
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    for part in (*bodies, *map(resolved, operation["responses"].values())):
        for content in part["content"].values():
            if "example" in content:
                assert validator(content["schema"]).is_valid(content["example"])
    for parameter in map(resolved, operation["parameters"]):
        assert jsonschema_rs.meta.is_valid({**parameter["schema"], "$schema": DIALECT})
        if "example" in parameter:
            assert validator(parameter["schema"]).is_valid(parameter["example"])


def test_schemas_are_json_schema_and_used():
    used = {reference.rsplit("/", 1)[1] for reference in references(DOCUMENT) if "/schemas/" in reference}
    assert set(DOCUMENT["components"]["schemas"]) == used
    for schema in DOCUMENT["components"]["schemas"].values():
        assert jsonschema_rs.meta.is_valid({**schema, "$schema": DIALECT})


DIALECT = "https://json-schema.org/draft/2020-12/schema"


def validator(schema):
    return jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]}, validate_formats=True)


def references(part):
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def referenced(reference: str):
    part = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        part = part[name]
    return part


def resolved(part):
    return referenced(part["$ref"]) if "$ref" in part else part


# --- the page --------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """A page's text, and whether each element ends that begins."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open = []
        self.ids = set()
        self.links = []
        self.text = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        assert "src" not in given
        self.ids.add(given.get("id"))
        self.links.append(given.get("href", ""))
        if tag not in {"meta", "br", "wbr"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_shows_every_call():
    text = docs_page.page(ROUTES, DOCUMENT)
    page = Page(text)
    shown = "".join(page.text)
    for route in ROUTES:
        operation = DOCUMENT["paths"][route.path][route.method.lower()]
        assert operation["operationId"] in page.ids
        assert f"{route.method} {route.path}" in shown
        for path in route.old_paths:
            assert path in shown
        for parameter in map(resolved, operation["parameters"]):
            assert parameter["name"] in shown
        for status in operation["responses"]:
            assert status in shown
    # Nothing from elsewhere, nothing that runs, every link to somewhere on it.
    assert "<script" not in text
    assert all(link in ("", "openapi.json") or link[1:] in page.ids for link in page.links)
