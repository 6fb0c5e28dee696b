"""Fixtures of every folder: one real Kafka a session. Hypothesis' profile `prove` (HYPOTHESIS_PROFILE) runs longer."""

import gc
import os
import sys
import uuid
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
#: Without the phase that explains a failure: it takes minutes here.
_PHASES = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]
_COMMON = {"deadline": None, "suppress_health_check": _SLOW, "phases": _PHASES, "report_multiple_bugs": False}
settings.register_profile("default", max_examples=100, database=None, **_COMMON)
settings.register_profile("prove", max_examples=20_000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without Python's search for garbage, which has none to find: a third of the time, in each process."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def defects() -> Iterator[list[Exception]]:
    """Errors that the command line of this process has taken for defects; who expects one clears them."""
    from backbeat.compose.cli import exit_codes, program

    met: list[Exception] = []

    def noted(error: Exception) -> exit_codes.CommandError:
        met.append(error)
        return exit_codes.defect(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "defect", noted)
        yield met


@pytest.fixture(autouse=True)
def _no_defect(request: pytest.FixtureRequest) -> Iterator[None]:
    """No command ends for a defect: its exit code, 1, is also that of what a test expects to be refused."""
    is_cli = "backbeat.compose.cli.program" in sys.modules
    met: list[Exception] = request.getfixturevalue("defects") if is_cli else []
    yield
    errors, met[:] = [*met], []
    assert not errors, "the command line has met a defect"


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap servers of the one Kafka that is started for all tests of a process."""
    from backbeat.compose.local.kafka import KafkaBroker

    with KafkaBroker(tmp_path_factory.mktemp("kafka")) as kafka_broker:
        yield kafka_broker.bootstrap_servers
        # Thrown away, it need not end in order: that takes half a second of processor time.
        kafka_broker.kill()


@pytest.fixture(scope="module")
def kafka(broker: str) -> Iterator[str]:
    """Bootstrap servers of that Kafka, for one module alone and without topics.

    Topics that another module has left would have its number of partitions.
    """
    from tests.empty_kafka import delete_topics

    delete_topics(broker)
    yield broker
    delete_topics(broker)


@pytest.fixture
def empty_kafka(kafka: str) -> str:
    """The same without any topic for each test that makes and spoils the system's topics."""
    from tests.empty_kafka import delete_topics

    delete_topics(kafka)
    return kafka


@pytest.fixture
def unique() -> str:
    """A word that no other test and no earlier run has used: for topics, groups and clients on the shared Kafka."""
    return f"t{uuid.uuid4().hex[:12]}"
