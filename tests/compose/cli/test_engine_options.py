"""The engine's settings as flags, variables and keys of a profile."""

import dataclasses

import pytest
from click.testing import CliRunner

from backbeat.compose.cli.processes.engine import engine
from backbeat.compose.cli.program import backbeat
from backbeat.streams.process.settings import EngineSettings

SAID = "rebalance timeout {} s: it must not be shorter than the session timeout, 10 s"


def test_every_field_has_a_flag():
    flags = {option.name for option in engine.params}

    assert {field.name for field in dataclasses.fields(EngineSettings)} <= flags


@pytest.mark.parametrize(
    ("flag", "variable", "value"), [(None, None, 3), (None, "4", 4), ("5", "4", 5)], ids=["profile", "variable", "flag"]
)
def test_a_flag_counts_before_a_variable_before_a_profile(tmp_path, flag, variable, value):
    path = tmp_path / "backbeat.toml"
    path.write_text('[profiles.default.commands.engine]\ninstance-id = "a"\nrebalance-timeout-seconds = 3\n')
    flags = [] if flag is None else ["--rebalance-timeout-seconds", flag]

    done = CliRunner().invoke(
        backbeat, ["--config", str(path), "engine", *flags], env={"BACKBEAT_REBALANCE_TIMEOUT_SECONDS": variable}
    )

    # What cannot be is said before anybody is asked for Kafka.
    assert (done.exit_code, done.stderr) == (1, f"Error: {SAID.format(value)}\n")


def test_a_value_of_the_wrong_kind_is_a_usage_error():
    done = CliRunner().invoke(backbeat, ["engine", "--instance-id", "a", "--cache-records", "many"])

    assert done.exit_code == 2
    assert "'many' is not a valid integer" in done.stderr
