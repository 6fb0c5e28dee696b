"""The figures over HTTP and of the search: every one is measured, and what fails is said. No test asserts a time."""

import json
import time

import pytest
from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner

from backbeat.compose.bench import engine
from backbeat.compose.bench.command import CONSOLE, FIGURES, HTTP, LETTERS, SEARCH, _figures, bench
from backbeat.compose.bench.over_http import bench as http
from backbeat.compose.bench.over_http import client
from backbeat.compose.bench.over_http import search as http_search
from backbeat.compose.bench.over_http.client import Load, make_application
from backbeat.compose.bench.over_http.rig import SERVING
from backbeat.compose.bench.table import ROWS
from backbeat.compose.local import postgresql


@pytest.mark.parametrize(
    ("letters", "names"),
    [
        (None, [name for name in FIGURES if name != CONSOLE]),
        ("a,b", ["a", "b"]),
        ("abe", ["a", "b", "e"]),
        ("http_a,e", ["http_a", "e"]),
        ("HTTP_D search, i", ["http_d", "search", "i"]),
    ],
)
def test_figures_have_names(letters, names):
    assert _figures(None, None, letters) == names


@pytest.mark.parametrize("letters", ["http_z", "http_a,z", "searches"])
def test_an_unknown_name_is_refused(letters):
    done = CliRunner().invoke(bench, ["--only", letters])

    assert done.exit_code == 2
    assert "is no figure; there are a, b" in done.output


def test_every_row_is_of_a_figure():
    assert {row.figure for row in ROWS} == set(FIGURES)


@pytest.fixture
async def application():
    """A client application whose gateway is not there."""
    async with TestClient(TestServer(make_application("http://127.0.0.1:1", "nobody"))) as client:
        yield client


async def test_a_load_that_fails_says_why(application):
    answer = await application.post("/load/prepare", data=b'{"count": 3}')

    assert answer.status == 500
    assert "ClientConnectorError" in await answer.text()


async def test_a_call_at_a_rate_has_waited_since_it_was_due():
    async def call(number: int) -> None:
        if number == 0:
            time.sleep(0.05)  # noqa: ASYNC251 - a loop that stands still: the others are due meanwhile

    result = await client._timed(call, Load(count=10, per_second=1_000))
    assert (result.p50_ms or 0.0) > 40


async def test_a_notification_ends_the_load(application):
    assert (await application.post("/notification", data=b'{"error": "it broke"}')).status == 200
    answer = await application.post("/load/webhooks", data=b"{}")

    assert answer.status == 500
    assert "it broke" in await answer.text()


async def test_webhooks_of_others_are_only_answered(application):
    body = {"id": "n", "workflowId": "w", "parentId": None, "currentServerStatus": "sent_to_client"}
    answer = await application.post("/decision", data=json.dumps({"decision": body}))

    assert answer.status == 200
    assert (await application.post("/load/webhooks", data=b"{}")).status == 200


@pytest.mark.integration
def test_every_figure_over_http_is_measured(monkeypatch):
    monkeypatch.setattr(engine, "_WARM_UP_ROUNDS_MAX", 1)
    small = {
        "_WARM_UP_WORKFLOWS": 5,
        "_ACCEPT_SIGNALS": 40,
        "_ACCEPT_WORKFLOWS": 8,
        "_FAN": 30,
        "_ROW": 4,
        "_STEADY_WORKFLOWS": 5,
        "_READS": 100,
        "_WRITES": 100,
        "_LAG_WRITES": 8,
        "_FRESH_SEARCHES": 3,
        "_FOLLOW_WORKFLOWS": 2_000,
    }
    for name, value in small.items():
        monkeypatch.setattr(http, name, value)
    done = CliRunner().invoke(bench, ["--only", ",".join(HTTP), "--runs", "1", "--json"])

    assert done.exit_code == 0, done.output
    figures = json.loads(done.output.splitlines()[-1])
    assert list(figures) == list(HTTP)
    for row in ROWS:
        if row.figure in HTTP:
            figure = figures[row.figure]
            for name in row.path:
                figure = figure[name]
            assert figure >= 0, row
    assert set(SERVING) < set(figures["http_d"]["cpu_ms_per_node_by_process"])
    assert figures["http_lag"]["records"] > 0


def test_the_search_is_measured_where_a_database_can_be_started(monkeypatch):
    monkeypatch.setattr(http_search, "why_not", lambda: "nobody has installed it")
    done = CliRunner().invoke(bench, ["--only", SEARCH, "--search-nodes", "2000", "--json"])

    assert done.exit_code == 0, done.output
    assert "postgresql is left out: nobody has installed it" in done.output
    figures = json.loads(done.output.splitlines()[-1])
    assert figures["search"]["sqlite"]["nodes"] == 2_000
    assert figures["search"]["sqlite"]["p50_worst_ms"] > 0
    assert list(figures["search"]) == ["sqlite"]
    assert set(figures) == {SEARCH}
    assert SEARCH not in LETTERS


async def test_the_search_is_measured_on_postgresql():
    reason = postgresql.why_not()
    if reason is not None:
        pytest.skip(reason)
    with postgresql.postgresql() as url:
        figures = await http_search._measured(url, 1_000)

    assert figures["database"] == "postgresql"
    assert figures["worst_ms"] > 0
