"""Processes of an installation that a drill starts."""

import sys

from backbeat.compose.drill.topology.stage import Stage

LISTS = "import os; print(sorted(name for name in os.environ if name.startswith('BACKBEAT_')), flush=True)"


def variables_of(stage: Stage) -> str:
    part = stage.child("part", [sys.executable, "-c", LISTS], env={"BACKBEAT_STATUS_PORT": "1"})
    part.start()
    try:
        part.wait(60)
        return part.output()
    finally:
        part.kill()


def test_they_have_nothing_of_another_installation(tmp_path, monkeypatch):
    for name in (
        "BACKBEAT_DATABASE_URL",
        "BACKBEAT_ARCHIVE_TO",
        "BACKBEAT_KAFKA_PASSWORD",
        "BACKBEAT_KAFKA_JAVA_OPTIONS",
    ):
        monkeypatch.setenv(name, "production's")
    own = variables_of(Stage(tmp_path / "own"))
    assert "DATABASE_URL" not in own
    assert "ARCHIVE_TO" not in own
    assert "KAFKA_PASSWORD" not in own
    assert "'BACKBEAT_STATUS_PORT'" in own
    assert "'BACKBEAT_KAFKA_JAVA_OPTIONS'" in own
    # A Kafka that is there is entered as the shell says.
    theirs = variables_of(Stage(tmp_path / "theirs", bootstrap_servers="kafka:9092"))
    assert "'BACKBEAT_KAFKA_PASSWORD'" in theirs
    assert "DATABASE_URL" not in theirs
