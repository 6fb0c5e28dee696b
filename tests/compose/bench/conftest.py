"""Settings of the benchmark's small runs."""

import pytest

from backbeat.compose.local.kafka import JAVA_OPTIONS_VARIABLE


@pytest.fixture(autouse=True)
def without_the_optimising_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the brokers a compiler that pays only after a hundred thousand records."""
    monkeypatch.setenv(JAVA_OPTIONS_VARIABLE, "-XX:TieredStopAtLevel=1")
