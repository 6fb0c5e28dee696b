"""The table of calls, and how a path finds its row."""

import pytest

from backbeat.gateway.api.routes import ROUTES
from backbeat.gateway.http.access.authentication import read_token
from backbeat.gateway.http.errors import Refusal
from backbeat.gateway.http.routing import Access, Router
from backbeat.gateway.http.transaction_id import choose
from backbeat.schemas.kafka.client_registry import RegisteredClient

ROUTER = Router(ROUTES)
WRITTEN = ("/limits", "/schedules", "/jobs", "/retention")


def row(method, path):
    route, values = ROUTER.find(method, path)
    return route.path, values


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/workflows", "/workflows"),
        ("POST", "/workflows/", "/workflows"),
        ("POST", "/v2/workflows.json", "/workflows"),
        ("GET", "/workflows/names", "/workflows/names"),
        ("GET", "/v2/workflows/search", "/workflows/search"),
        ("GET", "/v2/events/search", "/activities/search"),
        ("HEAD", "/health", "/health"),
        ("GET", "/heartbeat.txt", "/heartbeat.txt"),
        ("GET", "/v2/debug/error_workflows", "/v2/debug/error_workflows"),
    ],
)
def test_paths(method, path, expected):
    assert row(method, path) == (expected, {})


@pytest.mark.parametrize("suffix", ["", "/", ".json", ".json/"])
@pytest.mark.parametrize("prefix", ["/activities", "/v2/events"])
def test_parameters_of_the_path(prefix, suffix):
    assert row("GET", f"{prefix}/abc/errors{suffix}") == ("/activities/{id}/errors", {"id": "abc"})
    assert row("GET", f"{prefix}/abc{suffix}") == ("/activities/{id}", {"id": "abc"})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/schedules/report.json", ("/schedules/{name}", {"name": "report.json"})),
        ("/schedules/report.json/", ("/schedules/{name}", {"name": "report.json"})),
        ("/schedules/.json", ("/schedules/{name}", {"name": ".json"})),
        ("/schedules/a%2Fb.json", ("/schedules/{name}", {"name": "a/b.json"})),
        ("/limits/import.json", ("/limits/{activity}", {"activity": "import.json"})),
        # The path's end is no name: the suffix is as none, as everywhere.
        ("/schedules.json", ("/schedules", {})),
        ("/reports/daily.json", ("/reports/daily", {})),
        # Old clients' calls keep their rule.
        ("/workflows/names.json", ("/workflows/names", {})),
        ("/activities/abc.json", ("/activities/{id}", {"id": "abc"})),
    ],
)
def test_a_name_of_a_new_call_keeps_its_json(path, expected):
    assert row("GET", path) == expected


def test_a_name_in_the_middle_of_a_path_is_never_cut():
    path, values = row("PUT", "/schedules/report.json/pause")
    assert (path, values) == ("/schedules/{name}/pause", {"name": "report.json"})
    assert row("POST", "/workflows/1/signal/import.json")[1] == {"id": "1", "name": "import"}


def test_a_segment_is_decoded_once():
    assert row("POST", "/workflows/1/signal/a%2Fb%20c%2525")[1] == {"id": "1", "name": "a/b c%25"}


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "",
            "/nope",
            "/v2",
            "/v2/activities/1",
            "/events/1",
            "/debug/error_workflows",
            "/v2/users",
            "/v2/health",
        ),
        *("/workflows//tree", "/workflows/1/nope", "/workflows/1/signal/a/b"),
    ],
)
def test_unknown_paths(path):
    with pytest.raises(Refusal) as refusal:
        ROUTER.find("GET", path)
    assert refusal.value.status == 404


#: Nouns that are new, and what is new about a node or a workflow.
NEW_NOUNS = (
    *("/limits", "/schedules", "/jobs", "/dead-letters", "/reports", "/retention", "/archives", "/audit"),
    *("/commands", "/queries", "/schemas"),
)
COUNTS = {"/workflows/search/count", "/activities/search/count"}
OF_A_NODE = {f"/activities/{{id}}/{name}" for name in ("waits", "children", "child_counts", "path")}
OF_A_WORKFLOW = {f"/workflows/{{id}}/{name}" for name in ("top", "outcome", "timeline", "changes", "messages/{name}")}


def test_what_the_original_did_not_have_is_strict():
    assert {route.path for route in ROUTES if route.new} == {
        route.path
        for route in ROUTES
        if route.path.startswith(NEW_NOUNS) or route.path in OF_A_NODE | OF_A_WORKFLOW | COUNTS
    }


def test_unknown_methods_hear_which_there_are():
    with pytest.raises(Refusal) as refusal:
        ROUTER.find("DELETE", "/workflows")
    assert (refusal.value.status, refusal.value.headers) == (405, {"Allow": "GET, POST"})


def test_every_row_is_described_and_who_changes_something_is_known():
    assert all(route.summary for route in ROUTES)
    # What is settled twice is told by the letter's mark.
    without_key = {"/queries", "/dead-letters/redrive", "/dead-letters/drop"}
    assert {route.path for route in ROUTES if route.writes != (route.method != "GET")} == without_key
    assert {route.path for route in ROUTES if route.access is Access.PUBLIC} == {
        "/health",
        "/heartbeat.txt",
        "/openapi.json",
        "/docs",
    }
    # The original's three, and whatever changes something that the original did not have.
    assert {route.path for route in ROUTES if route.access is Access.WRITER} == {
        "/workflows/{id}/signal",
        "/workflows/{id}/signal/{name}",
        "/activities/{id}/decisions",
        "/workflows/{id}/messages/{name}",
        "/dead-letters/redrive",
        "/dead-letters/drop",
        *(route.path for route in ROUTES if route.writes and route.path.startswith(WRITTEN)),
    }


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        ('Token token="secret"', True),
        ('Token  token="secret" ', True),
        ("Token token=secret", False),
        ('Token token="other"', False),
        ('Token token=""', False),
        ('Bearer "secret"', False),
        ("secret", False),
        ("", False),
        (None, False),
        ('Token token="\udcff"', False),
    ],
)
def test_tokens(authorization, expected):
    token_hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
    client = RegisteredClient(id="0b4e9b1e-57a5-4f0e-9d4b-6f1c34c0f0aa", name="a", token_hash=token_hash)
    headers = {} if authorization is None else {"Authorization": authorization}
    assert client.has_token(read_token(headers)) is expected


def test_a_client_without_a_token_is_let_in_by_none():
    client = RegisteredClient(id="0b4e9b1e-57a5-4f0e-9d4b-6f1c34c0f0aa", name="a")
    assert not client.has_token("")
    assert not client.has_token("secret")


def test_transaction_ids():
    assert choose("mine-1") == "mine-1"
    assert choose("x" * 64) == "x" * 64
    for own in (None, "", "x" * 65, "a b", "ż"):
        made = choose(own)
        assert len(made) == 7
        int(made, 16)
