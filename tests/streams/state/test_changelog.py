"""The changelog of a Kafka that is not there."""

import pytest

from backbeat.schemas.kafka import brokers
from backbeat.schemas.kafka.brokers import UnreachableError
from backbeat.streams.state.restore import KafkaChangelog


def test_brokers_that_are_away_are_told_of_in_words_and_soon(monkeypatch):
    monkeypatch.setattr(brokers, "REACH_SECONDS_MAX", 0.1)
    # A retry of the restore may pass; of brokers that refuse the connection it does not (`brokers.may_pass`).
    with pytest.raises(UnreachableError, match="see that it runs"):
        KafkaChangelog("127.0.0.1:1", "backbeat", "backbeat-test")
