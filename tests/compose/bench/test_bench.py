"""The benchmark measures what it says: its commands are real work, its stores real stores. No test asserts a time."""

import json

import pytest
from click.testing import CliRunner

from backbeat.compose.bench import engine, scale
from backbeat.compose.bench import store as stored
from backbeat.compose.bench.command import LETTERS, bench
from backbeat.compose.bench.prepared_commands import Maker, subject_of
from backbeat.compose.bench.table import ROWS, show
from backbeat.schemas import codec
from backbeat.schemas.messages.status import ServerStatus
from backbeat.streams.core import apply
from backbeat.streams.core.effects import DeadLetter, Dispatch, Ignored
from backbeat.streams.core.store import MemoryStore
from backbeat.streams.core.tables import NODES, WORKFLOWS

USER = b"u" * 16
PARTITIONS = 4


@pytest.fixture
def maker():
    return Maker(USER, PARTITIONS)


def perform(records, store, begin=1_000):
    """Apply records as the engine would, a millisecond after one another; the effects that were not to be."""
    bad = []
    dispatched = 0
    for now, record in enumerate(records, start=begin):
        effects = apply(codec.decode_command(record.value), now, store)
        bad += [effect for effect in effects if isinstance(effect, (Ignored, DeadLetter))]
        dispatched += sum(isinstance(effect, Dispatch) for effect in effects)
    return bad, dispatched


def test_a_workflow_made_ahead_runs_to_its_end(maker):
    store = MemoryStore()
    bad, dispatched = perform(maker.workflow(subject_of(1)), store)

    assert bad == []
    assert dispatched == len(store[NODES]) == 4
    assert {node.server for node in store[NODES].values()} == {ServerStatus.COMPLETE}


def test_a_second_signal_to_a_workflow_is_new_work(maker):
    store = MemoryStore()
    bad, dispatched = perform(maker.workflow(subject_of(1)) + maker.workflow(subject_of(1)), store)

    assert bad == []
    assert dispatched == 8
    assert len(store[WORKFLOWS]) == 1


@pytest.mark.parametrize("leaves", [1, 3, 120])
def test_the_children_of_a_fan_are_in_work_and_take_their_results(maker, leaves):
    store = MemoryStore()
    fan = maker.fan(subject_of(1), leaves)
    bad, dispatched = perform(fan.commands, store)

    assert bad == []
    assert dispatched == leaves + 1
    assert all(store[NODES][child].server is ServerStatus.SENT_TO_CLIENT for child in fan.children)

    bad, _ = perform(maker.results(fan.children), store)

    assert bad == []
    assert {node.server for node in store[NODES].values()} == {ServerStatus.COMPLETE}


def test_stored_workflows_are_as_if_they_had_run(maker):
    stores = [MemoryStore() for _ in range(PARTITIONS)]
    template = stored._template(maker, 10, is_open=False)
    for number in range(40):
        stored._put(stores, maker, template, subject_of(number, stored.KIND))

    assert sum(len(store[WORKFLOWS]) for store in stores) == 40
    for store in stores:
        for workflow in store[WORKFLOWS].values():
            (top,) = chain(store, workflow.first_child)
            assert top.workflow_id == workflow.id
            assert [child.parent_id for child in chain(store, top.first_child)] == [top.id] * 9
    subject = next(stored.stored_subjects(40))
    store = next(store for store in stores if maker.workflow_id(subject) in store[WORKFLOWS])
    bad, dispatched = perform(maker.workflow(subject), store, begin=template.workflow.created_at + 1_000)
    assert bad == []
    assert dispatched == 4


def test_some_stored_workflows_are_open_and_have_a_deadline(maker):
    template = stored._template(maker, 5, is_open=True)

    in_work = [node for node in template.nodes if node.server is ServerStatus.SENT_TO_CLIENT]
    assert len(in_work) == 1
    assert in_work[0].timer_at is not None


def chain(store, first):
    figures = []
    while first is not None:
        figures.append(store[NODES][first])
        first = figures[-1].next_sibling
    return figures


@pytest.mark.parametrize(("value", "words"), [("z", "z is no figure"), ("", "nothing is no figure")])
def test_an_unknown_figure_is_refused(value, words):
    done = CliRunner().invoke(bench, ["--only", value])

    assert done.exit_code == 2
    assert words in done.output


def test_the_table_shows_what_was_measured_and_what_was_missed(capsys):
    show({"d": {"milliseconds": 400}, "e": {"p50_ms": 9.04, "p99_ms": 20.0}, "f": {"published_per_second": 90_000}})

    lines = capsys.readouterr().out.splitlines()
    (row,) = (line for line in lines if "100 in a row" in line)
    assert "400 ms" in row
    assert "≤ 350 ms" in row
    assert "✗ +14 %" in row
    assert any("9.04 ms" in line and "✓" in line for line in lines)
    assert any("90,000 /s" in line and "≥ 20,000 /s" in line and "✓" in line for line in lines)
    assert not any("children joined" in line for line in lines)


@pytest.mark.integration
def test_every_figure_with_a_letter_is_measured(monkeypatch):
    small = {
        "_WARM_UP_ROUNDS_MAX": 1,
        "_WARM_UP_WORKFLOWS": 20,
        "_ALONE_WORKFLOWS": 20,
        "_ROUND_WORKFLOWS": 20,
        "_ROW": 5,
        "_IDLE_WORKFLOWS": 3,
        "_BIG_JOIN": 1_100,
    }
    for name, value in small.items():
        monkeypatch.setattr(engine, name, value)
    monkeypatch.setattr(scale, "_SIGNALS", 3_000)
    monkeypatch.setattr(scale, "_COST_COMMANDS", 50)
    monkeypatch.setattr(scale, "_FANS", (10, 100))
    monkeypatch.setattr(scale, "STORED", (200,))
    done = CliRunner().invoke(bench, ["--only", LETTERS, "--runs", "1", "--json"])

    assert done.exit_code == 0, done.output
    figures = json.loads(done.output.splitlines()[-1])
    assert list(figures) == list(LETTERS)
    for row in ROWS:
        if row.figure not in LETTERS:
            continue
        figure = figures[row.figure]
        for name in row.path:
            if name.isdigit() or name == "seconds_10000":
                break
            figure = figure[name]
        else:
            assert figure >= 0, row
    assert figures["c"]["seconds_1100"] > 0
    assert set(figures["i"]["cpu_us_per_command_by_nodes_in_workflow"]) == {"10", "100"}
    assert set(figures["i"]["cpu_us_per_command_by_workflows_stored"]) == {"200"}
    assert figures["h"]["nodes"] == 2_000
