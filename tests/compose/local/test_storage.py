"""The storage of a broker: formatted by Kafka's tool once, then from a copy of what that wrote."""

from pathlib import Path

import pytest

from backbeat.compose.local import storage
from backbeat.compose.local.kafka import KafkaBroker
from backbeat.compose.local.storage import format_storage, read_cluster_id

CHECKPOINT = Path("__cluster_metadata-0", "0.checkpoint")


class Tool:
    """Kafka's tool, as far as it matters here: it writes two files into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = 0

    def __call__(self) -> None:
        self.runs += 1
        (self.folder / CHECKPOINT.parent).mkdir(parents=True, exist_ok=True)
        path = self.folder / CHECKPOINT
        path.write_text("of the tool")
        path.chmod(0o400)
        (self.folder / "meta.properties").write_text("cluster.id=of the tool\n")


@pytest.fixture
def jars(tmp_path, monkeypatch):
    folder = tmp_path / "jars"
    folder.mkdir()
    monkeypatch.setattr(storage, "jars_folder", lambda: folder)
    return folder


def formatted(folder: Path, cluster_id: str = "one", node_id: int = 1) -> int:
    """How often the tool ran."""
    tool = Tool(folder)
    format_storage(folder, cluster_id, node_id, tool)
    return tool.runs


def test_the_tool_runs_for_the_first_broker_alone(tmp_path, jars):
    runs = [formatted(tmp_path / f"log-{node}", "shop", node) for node in (1, 2, 3)]

    assert runs == [1, 0, 0]
    assert [path.name for path in jars.iterdir()] == ["formatted"]
    assert not (jars / "formatted" / "meta.properties").exists()
    directories = set()
    for node in (2, 3):
        folder = tmp_path / f"log-{node}"
        assert (folder / CHECKPOINT).read_text() == "of the tool"
        assert read_cluster_id(folder) == "shop"
        properties = dict(line.split("=") for line in (folder / "meta.properties").read_text().split())
        assert properties["node.id"] == str(node)
        directories.add(properties["directory.id"])
    assert len(directories) == 2


def test_a_formatted_folder_stays_as_it_is(tmp_path, jars):
    formatted(tmp_path / "log")

    assert formatted(tmp_path / "log", "another") == 0
    assert read_cluster_id(tmp_path / "log") == "of the tool"


def test_a_copy_that_broke_off_is_made_anew(tmp_path, jars):
    formatted(tmp_path / "first")
    unfinished = tmp_path / "log.unfinished" / CHECKPOINT
    unfinished.parent.mkdir(parents=True)
    unfinished.write_text("half")

    assert formatted(tmp_path / "log") == 0
    assert (tmp_path / "log" / CHECKPOINT).read_text() == "of the tool"
    assert not (tmp_path / "log.unfinished").exists()


def test_what_lies_in_a_folder_without_properties_is_left_to_the_tool_and_is_no_pattern_for_others(tmp_path, jars):
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "records").write_text("a user's")

    assert formatted(folder) == 1
    assert (folder / "records").read_text() == "a user's"
    assert list(jars.iterdir()) == []


def test_without_room_for_a_pattern_the_tool_runs_each_time(tmp_path, monkeypatch):
    no_folder = tmp_path / "file"
    no_folder.touch()
    monkeypatch.setattr(storage, "jars_folder", lambda: no_folder)

    assert [formatted(tmp_path / name) for name in "ab"] == [1, 1]


def test_a_copy_has_the_files_and_the_properties_that_kafka_s_own_tool_writes(tmp_path, jars):
    brokers = KafkaBroker(tmp_path / "tool"), KafkaBroker(tmp_path / "copy")
    for broker in brokers:
        broker.prepare()
    by_tool, by_copy = (broker.data_dir / "log" for broker in brokers)

    assert (jars / "formatted").is_dir()
    assert names(by_tool) == names(by_copy)
    assert keys(by_tool) == keys(by_copy)


def names(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


def keys(folder: Path) -> set[str]:
    lines = (folder / "meta.properties").read_text().splitlines()
    return {line.partition("=")[0] for line in lines if not line.startswith("#")}
