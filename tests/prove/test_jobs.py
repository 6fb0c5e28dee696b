"""A bulk retry of very many nodes whose engine is killed (-9) again and again."""

import pytest

from backbeat.compose.local.kafka import KafkaBroker
from tests.integration.bulk import retry_all
from tests.integration.installation import install

pytestmark = [pytest.mark.prove, pytest.mark.integration]


def test_each_of_50_000_nodes_is_retried_once_whatever_is_killed(tmp_path):
    with KafkaBroker(tmp_path / "kafka") as broker, install(broker.bootstrap_servers, tmp_path / "data") as engine:
        retry_all(engine, 50_000, slice_nodes_max=250, kills=4)
