"""A restart after kill -9 with very many nodes stored."""

import pytest

from backbeat.compose.local.kafka import KafkaBroker
from tests.integration.installation import install, restart_with_nodes

pytestmark = [pytest.mark.prove, pytest.mark.integration]


def test_the_first_command_after_kill_9_with_very_many_nodes_stored(tmp_path):
    with KafkaBroker(tmp_path / "kafka") as broker, install(broker.bootstrap_servers, tmp_path / "data") as engine:
        restart_with_nodes(engine, 100_000)
