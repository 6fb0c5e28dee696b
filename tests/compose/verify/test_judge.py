"""Judge and core agree on random stories, also where slices, commands and repeats mix, and with little memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, note
from hypothesis import strategies as st

from backbeat.compose.verify.avro import UnreadableError
from backbeat.compose.verify.beside import compare_beside
from backbeat.compose.verify.command import verify
from backbeat.compose.verify.compare import Comparison
from backbeat.compose.verify.partition import Partition
from backbeat.compose.verify.rules.records import first_state
from backbeat.compose.verify.sends import mismatches
from backbeat.compose.verify.spill import Spill
from backbeat.compose.verify.stored import (
    FIELDS,
    FLOW_FIELDS,
    FOLLOW_UPS_FIELDS,
    LIMIT_FIELDS,
    LIMIT_VALUES_FIELDS,
    POLICY_FIELDS,
    SETTINGS_FIELDS,
)
from backbeat.compose.verify.verdict import Step, Unjudged, Verdict
from backbeat.schemas import codec
from backbeat.schemas.kafka.topics import COMMANDS as TOPIC
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.jobs import JobFilter
from backbeat.schemas.messages.limits import Limit, LimitValues
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.status import CLIENT_WORDS, SERVER_WORDS
from backbeat.schemas.named_types import COMMANDS
from backbeat.streams.core.records import Flow, FollowUps, Meta
from backbeat.streams.core.tables import TABLES
from backbeat.streams.core.tree.status import CLIENT_TRANSITIONS, SERVER_TRANSITIONS
from tests.compose.verify.log import READER, Findings, LoggedWorld
from tests.compose.verify.scene import limits, played, trees
from tests.schemas.examples import EXAMPLES
from tests.sim import clients
from tests.sim.runs import JOB_RETENTION_MS, run_seed
from tests.streams.core import player as players
from tests.streams.core.player import Move, Player
from tests.streams.core.test_properties import MOVES, NUMBERS
from tests.streams.core.world import USER

#: An engine applies FailNode where it fails, and never finds one in the log.
STORIES = st.lists(MOVES.filter(lambda move: move.word != "fail"), min_size=1, max_size=60)


STATUSES = ("ready", "sent_to_client", "retries_exhausted", "processing_children", "errored")


class LoggedPlayer(Player):
    """A player whose world keeps its log. It begins jobs, too."""

    def __init__(self, partitions: int, slice_nodes_max: int, seed: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(players, "World", LoggedWorld)
            super().__init__(partitions, slice_nodes_max, seed)
        self.naive = players.Naive(self.world.first_settings)

    def rush(self, move: Move) -> None:
        if move.how % 12 == 11:
            self.world.send(self._job(move))
        super().rush(move)

    def _job(self, move: Move) -> c.StartJob:
        action = ("retry", "resolve", "shutdown", "cancel", "pause", "resume")[move.node % 6]
        job_filter = JobFilter(subject=(None, "7")[move.how % 2])
        if action not in ("pause", "resume"):
            status = STATUSES[move.how % 5] if action == "cancel" or move.how % 3 else None
            error = (None, "broke", "text")[move.node % 3]
            job_filter = JobFilter(current_status=status, error=error, past_status=(None, "retrying")[move.node % 2])
        return c.StartJob(
            id=self.world.new_id(),
            user_id=(None, USER)[move.node % 2],
            partition=move.node % len(self.world.stores),
            action=action,
            filter=job_filter,
            dry_run=move.how % 5 == 4,
        )


def check(world: LoggedWorld, nodes_max: int) -> None:
    findings = Findings(world, nodes_max)
    for line in (*findings.differences, *findings.sends):
        note(str(line))
    assert findings.nothing
    # A refusal is the error of the node whose result it was; no filter here has any word of one.
    assert set(findings.unjudged) <= {"WorkJob whose filter reads the text of a refusal"}


@pytest.mark.parametrize("slice_nodes_max", [1, 3, 100_000])
@given(story=STORIES, partitions=st.sampled_from([1, 3]), seed=NUMBERS, nodes_max=st.sampled_from([3, 20_000]))
def test_the_judge_agrees_with_the_core(story, partitions, seed, nodes_max, slice_nodes_max):
    player = LoggedPlayer(partitions, slice_nodes_max, seed)
    for move in [Move("signal"), *story]:
        player.rush(move)
        for line in player.story[-1:]:
            note(line)
    check(player.world, nodes_max)


@pytest.mark.prove
@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", range(200))
def test_the_judge_agrees_with_many_runs_of_the_simulator(seed, monkeypatch):
    judge_a_run(seed, monkeypatch)


@pytest.mark.parametrize("seed", [3, 1_000_003])
def test_the_judge_agrees_with_engines_that_crash_in_the_simulator(seed, monkeypatch):
    judge_a_run(seed, monkeypatch)


def judge_a_run(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Defects of the rules are differences, as they must be: here there are none.
    monkeypatch.setattr(clients, "POISON", "well")
    monkeypatch.setattr("backbeat.compose.verify.rules.jobs._RETENTION_MS", JOB_RETENTION_MS)
    world = run_seed(seed)
    logs = [world.broker.log(TOPIC, number).entries for number in range(world.partitions_count)]
    findings = Findings(
        SimpleNamespace(
            stores=world.reference.stores,
            records=[[(e.offset, e.timestamp, e.value) for e in log if e and not e.control] for log in logs],
            first_settings=Settings(),
            under_way={},
        ),
        nodes_max=30,
    )
    assert findings.nothing, (findings.differences[:3], findings.sends[:3])
    assert not findings.unjudged


def test_remembered_answers_are_compared_in_pages(tmp_path):
    """As many as there were signals: neither side is in memory whole."""
    count = 12_000
    spill = Spill(tmp_path / "judge.sqlite")
    ours = [(0, number.to_bytes(16, "big"), b"h" * 16, "form", None, 1_000 + number) for number in range(count)]
    theirs = [(0, b"i" + row[1], msgspec.msgpack.encode([row[2], None, row[5], 1])) for row in ours]
    del theirs[7]
    theirs[9_000] = (0, theirs[9_000][1], msgspec.msgpack.encode([b"x" * 16, None, 5, 1]))
    stranger = (0, b"i" + count.to_bytes(16, "big"), msgspec.msgpack.encode([b"h" * 16, None, 5, 1]))
    spill.db.executemany("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)", ours)
    spill.db.executemany("INSERT INTO stored VALUES (?, ?, ?)", [*theirs, stranger])
    partition = Partition(0, 1, spill, first_state())
    comparison = Comparison(partition)
    del ours, theirs
    tracemalloc.start()
    try:
        differences = list(compare_beside(comparison, partition, None))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        spill.close()
    assert comparison.counts["remembered answers"] == count + 1
    assert sorted(int.from_bytes(each.id, "big") for each in differences) == [7, 9_001, count]
    assert {each.kind for each in differences} == {"remembered answer"}
    assert peak < 4_000_000


# --- tables -----------------------------------------------------------------------------------------------------------


def test_records_are_read_by_the_places_that_the_engine_writes_them_to():
    by_struct = {
        table.struct.__name__: list(table.struct.__struct_fields__) for table in TABLES if table.struct is not bytes
    }
    names = {
        "workflow": "Workflow",
        "node": "Node",
        "link": "Link",
        "reference": "Reference",
        "inbox": "Inbox",
        "message": "Message",
        "line": "Line",
        "coalesce": "CoalesceIndex",
        "reply": "StoredReply",
        "pool": "Pool",
        "queue": "FairnessQueue",
        "ticket": "SlotTicket",
        "schedule": "Schedule",
        "tombstone": "SignalTombstone",
        "archive": "ArchiveEntry",
        "job": "Job",
    }
    assert {kind: by_struct[name] for kind, name in names.items()} | {"meta": list(Meta.__struct_fields__)} == FIELDS
    assert list(Settings.__struct_fields__) == SETTINGS_FIELDS
    assert list(Flow.__struct_fields__) == FLOW_FIELDS
    assert list(FollowUps.__struct_fields__) == FOLLOW_UPS_FIELDS
    assert list(Limit.__struct_fields__) == LIMIT_FIELDS
    assert list(LimitValues.__struct_fields__) == LIMIT_VALUES_FIELDS
    assert list(RetentionPolicy.__struct_fields__) == POLICY_FIELDS


def test_both_readings_have_the_same_tables_of_statuses():
    from backbeat.compose.verify.rules import tree

    assert tuple(SERVER_WORDS) == tree.SERVER_WORDS
    assert tuple(CLIENT_WORDS) == tree.CLIENT_WORDS
    assert {int(a): {int(b) for b in to} for a, to in SERVER_TRANSITIONS.items()} == {
        status: set(to) for status, to in tree.SERVER_MAY_BECOME.items()
    }
    assert {int(a): {int(b) for b in to} for a, to in CLIENT_TRANSITIONS.items()} == {
        status: set(to) for status, to in tree.CLIENT_MAY_BECOME.items()
    }


# --- Avro -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
def test_a_foreign_reader_reads_what_our_codec_wrote(kind):
    value, _, example = EXAMPLES[kind.__name__]
    name, command = READER.read(value)
    assert name == kind.__name__
    assert set(command) == set(kind.__struct_fields__)
    assert command["id"] == example.id


def test_earlier_versions_are_read_as_todays():
    golden = Path(__file__).parents[2] / "schemas" / "golden"
    names = {kind.__name__ for kind in COMMANDS}
    files = [file for file in golden.rglob("*.avro") if file.stem in names]
    assert len(files) > 20
    for file in files:
        name, command = READER.read(file.read_bytes())
        assert name == file.stem
        assert "source" in command


@pytest.mark.parametrize("value", [None, b"", b"{}", b"\xc3\x01" + bytes(8), b"\x00\x00\x00\x00\x01", b"\xc3\x01"])
def test_what_is_no_command_is_said_to_be_none(value):
    with pytest.raises(UnreadableError):
        READER.read(value)


def test_a_command_that_is_cut_or_longer_is_none():
    value = codec.encode_command(c.ResetNode(id=bytes(16), node_id=bytes(16)))
    for damaged in (value[:-1], value + b"x"):
        with pytest.raises(UnreadableError):
            READER.read(damaged)


# --- memory, sends, verdict -------------------------------------------------------------------------------------------


def test_little_memory_changes_nothing():
    scene = played(trees, limits)
    assert Findings(scene.world, nodes_max=1).nothing


def test_long_payloads_are_kept_once(tmp_path):
    spill = Spill(tmp_path / "spill")
    kept = [spill.keep(0, b"w" * 16, b'{"x":"%s"}' % (b"y" * 5_000)) for _ in range(2)]
    assert kept[0] == kept[1]
    assert len(kept[0]) < 50
    assert spill.text(0, b"w" * 16, kept[0]) == b'{"x":"%s"}' % (b"y" * 5_000)
    assert spill.one("SELECT count(*) FROM texts") == (1,)
    assert spill.text(0, b"w" * 16, spill.keep(0, b"w" * 16, b"{}")) == b"{}"
    spill.close()


def test_a_send_is_counted_once_however_often_it_was_repeated(tmp_path):
    spill = Spill(tmp_path / "spill")
    rows = [
        (0, 5, 1, "CloseLink", b"a", 1, -1),
        (0, 5, 1, "CloseLink", b"a", 0, 2),
        (0, 5, 1, "CloseLink", b"a", 0, 2),  # the same effect again
        (0, 6, 1, "CloseLink", b"b", 1, -1),  # missing
        (0, 7, 1, "CloseLink", b"c", 0, 0),  # of no rule
        (0, 9, 1, "CloseLink", b"d", 0, 0),  # behind the position
    ]
    spill.db.executemany("INSERT INTO sends VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    differences = mismatches(spill, {0: 9, 1: 3}, {0: 0, 1: 0})
    assert [(mismatch.offset, mismatch.is_missing) for mismatch in differences] == [(6, True), (7, False)]
    # The commands of partition 1 were removed: only what is there can be judged.
    assert [mismatch.offset for mismatch in mismatches(spill, {0: 9}, {0: 0})] == [7]
    spill.close()


def test_a_snapshot_keeps_the_sends_of_commands_that_it_has_not_folded(tmp_path):
    """They may stand in the log of their target before the position from which the next run reads it."""
    spill = Spill(tmp_path / "spill")
    rows = [(0, 8, 1, "CloseLink", b"a", 1, -1), (0, 8, 1, "CloseLink", b"a", 0, 0), (0, 9, 1, "CloseLink", b"b", 0, 0)]
    spill.db.executemany("INSERT INTO sends VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    assert mismatches(spill, {0: 9, 1: 5}, {0: 0, 1: 0}) == []
    spill.end_run({0: 9, 1: 5})
    spill.close()
    spill = Spill(tmp_path / "spill")
    spill.db.execute("INSERT INTO sends VALUES (0, 9, 1, 'CloseLink', ?, 1, -1)", (b"b",))
    assert mismatches(spill, {0: 10, 1: 6}, {0: 9, 1: 5}) == []
    spill.close()


def test_a_record_of_a_kind_that_nobody_knows_is_not_judged():
    scene = played(limits)
    for key in (b"z" + bytes(16), b"w" + bytes(7) + b"z" + bytes(9)):
        findings = Findings(scene.world, strange={key: b"?"})
        assert findings.nothing
        assert findings.unjudged == {"record of an unknown kind": 2}


def test_a_replay_has_no_snapshot():
    done = CliRunner().invoke(verify, ["--replay", "--snapshot", "x"])
    assert done.exit_code == 2
    assert "--replay reads the whole log" in done.output


def test_a_verdict_says_what_was_not_judged():
    verdict = Verdict({0: 7}, {0: 2}, {"nodes": 3}, [], 0, [], [], [Unjudged("partition 1", 1, "it is gone")])
    lines = list(verdict.lines())
    assert lines[0] == "partition 0: commands 2 to 7"
    assert "NOT judged: partition 1 (1): it is gone" in lines
    assert lines[-1].endswith("Not everything was.")
    assert not verdict.as_json()["complete"]
    assert verdict.agrees


def test_a_verdict_shows_the_first_difference_and_the_commands_that_led_there():
    scene = played(trees)
    store = next(store for store in scene.world.stores if store.meta.next_offset > 1)
    node = next(iter(scene.world.nodes().values()))
    node.retries_remaining += 1
    findings = Findings(scene.world)
    (difference,) = findings.differences
    assert (difference.kind, difference.id, difference.field) == ("node", node.id, "retries_remaining")
    name, command = READER.read(scene.world.records[scene.world.partition(node.id)][0][2])
    step = Step(0, 0, 1_000_000, name, command)
    verdict = Verdict({0: store.meta.next_offset}, {0: 0}, {}, [difference], 1, [], [step], [])
    text = "\n".join(verdict.lines())
    assert "1 differences; the first:" in text
    assert f"retries_remaining is {node.retries_remaining}, must be {node.retries_remaining - 1}" in text
    assert "0/0 1970-01-01T00:16:40.000Z Signal" in text
    assert text.endswith("The changelog is NOT what the rules make of the commands.")
    as_json = json.loads(json.dumps(verdict.as_json()))
    assert as_json["differences"][0]["id"] == node.id.hex()
    assert as_json["commands"][0]["name"] == "Signal"
