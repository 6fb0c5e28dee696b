"""Backups of another number of partitions: the state that the commands make there is the one that they made."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from backbeat.compose.backup.errors import BackupError
from backbeat.compose.backup.letters import moved_letter
from backbeat.compose.backup.manifest import FORMAT, Manifest, TopicCopy
from backbeat.compose.backup.parts import CopiedRecord, PartitionWriter, read_partition
from backbeat.compose.backup.repartition import Repartition
from backbeat.compose.backup.sends import Sends
from backbeat.gateway.archiving.stores import FolderStore
from backbeat.schemas import codec
from backbeat.schemas.kafka.dead_letters import SOURCE_PARTITION, SOURCE_TOPIC
from backbeat.schemas.kafka.topics import COMMANDS, STATE
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.ids import partition_of
from backbeat.schemas.messages.values import Source
from backbeat.streams.core.tables import META_KEY, NODES
from tests.compose.verify import scene as scenes
from tests.compose.verify.log import Findings, LoggedWorld
from tests.streams.core import player as players
from tests.streams.core.player import Move, Player
from tests.streams.core.storing import encoded
from tests.streams.core.test_properties import MOVES, NUMBERS
from tests.streams.core.world import Happened

STORIES = [
    "trees",
    "errors",
    "takes",
    "allowances",
    "messages",
    "follow_ups",
    "links",
    "pauses",
    "schedules",
    "retention",
    "settings",
]


def played(name, world=None):
    """The world of a story, with the settings that an installation has at first."""
    scene = scenes.Scene()
    scene.world = world or LoggedWorld(2)
    getattr(scenes, name)(scene)
    return scene.world


class InterruptedWorld(LoggedWorld):
    """A world that remembers how it was after so many commands."""

    def __init__(self, after):
        super().__init__(2)
        self._after = after
        self.then = None

    def _apply(self, number, command, happened):
        super()._apply(number, command, happened)
        self._after -= 1
        if self._after == 0:
            state = [(encoded(store), msgspec.msgpack.encode(store.meta)) for store in self.stores]
            self.then = state, {number: len(log) for number, log in enumerate(self.records)}


def backup_of(world, folder: Path, *, first: int = 0, then=None):
    """The backup of a world, as it is, or with the state of an earlier moment."""
    state, positions = then or (
        [(encoded(store), msgspec.msgpack.encode(store.meta)) for store in world.stores],
        {number: len(log) for number, log in enumerate(world.records)},
    )
    store = FolderStore(folder)
    count = len(world.stores)
    topics = {COMMANDS: [], STATE: []}
    for number in range(count):
        writer = PartitionWriter(store, COMMANDS, number)
        for offset, time, value in world.records[number]:
            writer.add(CopiedRecord(offset, time, None, value, []))
        topics[COMMANDS].append(writer.end(first, len(world.records[number])))
        writer = PartitionWriter(store, STATE, number)
        for offset, (key, value) in enumerate(state[number][0].items()):
            writer.add(CopiedRecord(offset, 0, key, value, []))
        topics[STATE].append(writer.end(0, len(state[number][0])))
    manifest = Manifest(
        format=FORMAT,
        version="1",
        made_at="2026-11-30T00:00:00+00:00",
        partitions=count,
        positions=positions,
        metas={number: meta for number, (_, meta) in enumerate(state)},
        topics=[TopicCopy(name, "id", copies) for name, copies in topics.items()],
    )
    return store, manifest


def repartitioned(world, folder, partitions, **options):
    store, manifest = backup_of(world, folder / "old", **options)
    into = FolderStore(folder / "new")
    return into, Repartition(store, manifest, "backup", partitions, into, lambda _: None).run()


def records(store, manifest, topic):
    return {copy.partition: list(read_partition(store, "new", copy)) for copy in manifest.topic(topic).partitions}


@pytest.mark.parametrize(("story", "partitions"), [*((story, n) for story in STORIES for n in (1, 5)), ("limits", 1)])
def test_the_state_is_the_same_and_lies_where_its_ids_say(story, partitions, tmp_path):
    world = played(story)
    store, manifest = repartitioned(world, tmp_path, partitions)
    assert manifest.partitions == partitions
    state = {}
    for number, copies in records(store, manifest, STATE).items():
        for record in copies:
            state[record.key] = record.value
            if record.key[:1] == b"w":
                assert partition_of(record.key[1:5], partitions) == number
    old = {key: value for partition in world.stores for key, value in encoded(partition).items() if key != META_KEY}
    assert state == old
    for number, copies in records(store, manifest, COMMANDS).items():
        assert [record.offset for record in copies] == list(range(len(copies)))
        assert manifest.positions[number] == len(copies)
    assert Findings(applied(store, manifest)).nothing


def applied(store, manifest):
    """The world that the laid commands make, for the judge: he looks at what has sent each of them, too."""
    world = LoggedWorld(manifest.partitions)
    for number, copies in records(store, manifest, COMMANDS).items():
        for record in copies:
            world.now = record.timestamp
            world._apply(number, codec.decode_command(record.value), Happened())
    world.under_way.clear()
    return world


@pytest.mark.parametrize("story", ["trees", "links", "follow_ups"])
def test_what_was_not_applied_yet_is_applied_there(story, tmp_path):
    count = sum(len(log) for log in played(story).records)
    world = played(story, InterruptedWorld(count // 2))
    store, manifest = repartitioned(world, tmp_path, 3, then=world.then)
    laid = records(store, manifest, COMMANDS)
    assert any(len(copies) > manifest.positions[number] for number, copies in laid.items())
    assert Findings(applied(store, manifest)).nothing


@settings(max_examples=10)
@given(
    story=st.lists(MOVES.filter(lambda move: move.word != "fail"), min_size=20, max_size=60),
    seed=NUMBERS,
    numbers=st.sampled_from([(2, 4), (1, 3), (2, 3)]),
)
def test_random_stories_have_the_same_state_or_are_refused(story, seed, numbers):
    """Policies that change while workflows end come in another order for some: that is refused, and not guessed."""
    old, new = numbers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(players, "World", LoggedWorld)
        patch.setattr(players, "Settings", lambda **_: Settings())
        player = Player(old, seed=seed)
    for move in [Move("signal"), *story]:
        player.rush(move)
    # What an engine sends is in the log with its commit.
    player.world.drain()
    with tempfile.TemporaryDirectory() as folder:
        try:
            store, manifest = repartitioned(player.world, Path(folder), new)
        except BackupError as refusal:
            event(f"refused: {str(refusal)[:60]}")
            return
        assert Findings(applied(store, manifest)).nothing


def test_limits_whose_changes_are_ordered_elsewhere_are_refused(tmp_path):
    """Two limits whose changes one partition counts are those of two: the next change would not be newer."""
    with pytest.raises(BackupError, match="has a SpreadLimit that no command sends in this number of partitions"):
        repartitioned(played("limits"), tmp_path, 5)


def test_what_another_number_of_partitions_takes_apart_is_refused(tmp_path):
    """A change of a limit had come to one partition, and not to the other one."""
    world = played("limits", InterruptedWorld(12))
    with pytest.raises(BackupError, match="commands that wait for each other"):
        repartitioned(world, tmp_path, 5, then=world.then)


def test_a_backup_whose_state_is_not_its_commands_is_refused(tmp_path):
    world = played("trees")
    nodes = next(store[NODES] for store in world.stores if store[NODES])
    key, node = next(iter(nodes.items()))
    nodes[key] = msgspec.structs.replace(node, tid="another")
    with pytest.raises(BackupError, match=r"makes another state .*: the record \w+ \(Node\) differs"):
        repartitioned(world, tmp_path, 3)


def test_settings_of_one_partition_are_told(tmp_path):
    world = played("trees")
    world.stores[1].meta.settings = scenes.SETTINGS
    with pytest.raises(BackupError, match="settings of a partition differs"):
        repartitioned(world, tmp_path, 3)


def test_jobs_and_removed_commands_are_refused(tmp_path):
    with pytest.raises(BackupError, match="has commands of jobs"):
        repartitioned(played("jobs"), tmp_path / "jobs", 3)
    with pytest.raises(BackupError, match="its oldest were removed"):
        repartitioned(played("trees"), tmp_path / "removed", 3, first=1)


def test_what_no_engine_has_put_aside_yet_is_not_passed_over(tmp_path):
    """A record that was put aside is a dead letter already; of another the engines would have made one."""
    world = played("trees")
    positions = {number: len(log) for number, log in enumerate(world.records)}
    world.records[0].append((positions[0], world.now, b"no command"))
    _, manifest = repartitioned(world, tmp_path / "aside", 3)
    assert manifest.partitions == 3
    state = [(encoded(store), msgspec.msgpack.encode(store.meta)) for store in world.stores]
    with pytest.raises(BackupError, match=rf"put aside yet \(partition 0, offset {positions[0]}\)"):
        repartitioned(world, tmp_path / "waits", 3, then=(state, positions))


def test_what_engines_would_take_for_a_repeat_is_not_whole():
    """Of what a command sends the second was in a partition that was copied longer: both come to one now."""
    first, second = (
        c.SendMessage(user_id=b"u" * 16, id=bytes([n]) * 16, workflow_id=b"w" * 16, name="paid") for n in (1, 2)
    )
    sends = Sends(lambda _: (0,))
    sends.note((1, 5), [first, second])
    assert sends.are_whole({1: 5})
    assert not sends.are_whole({1: 6})
    assert sends.lay(Source(1, 5, 1), second)
    assert not sends.lay(Source(1, 5, 1), second)
    assert not sends.are_whole({1: 5})
    sends = Sends(lambda _: (0,))
    sends.note((1, 5), [first, second])
    assert sends.lay(Source(1, 5, 0), first)
    assert sends.are_whole({1: 5})
    sends.note((1, 6), [first])
    assert sends.lay(Source(1, 6, 0), first)
    assert not sends.are_whole({1: 5})


def test_a_letter_is_redriven_to_the_partition_that_its_command_has_then():
    command = c.SendMessage(
        user_id=b"u" * 16, id=b"s" * 16, workflow_id=b"wxyz" * 4, name="paid", source=Source(3, 900, 0)
    )

    def letter(value, topic=COMMANDS):
        origin = [(SOURCE_TOPIC, topic.encode()), (SOURCE_PARTITION, b"3")]
        return CopiedRecord(7, 1, b"key", value, [("own", None), *origin])

    moved = moved_letter(letter(codec.encode_command(command)), 2)
    assert moved.headers[0] == ("own", None)
    assert dict(moved.headers)[SOURCE_PARTITION] == str(partition_of(command.workflow_id, 2)).encode()
    assert codec.decode_command(moved.value) == msgspec.structs.replace(command, source=None)
    assert dict(moved_letter(letter(b"no command"), 2).headers)[SOURCE_PARTITION] == b"1"
    assert moved_letter(letter(b"no command"), 2).value == b"no command"
    for other in (letter(b"{}", "backbeat.signals.shop"), CopiedRecord(8, 1, None, None, [("backbeat-marks", b"7")])):
        assert moved_letter(other, 2) == other
