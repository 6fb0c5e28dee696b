"""The reader of dead letters on a Kafka that has very many of them."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Producer

from backbeat.gateway.letters.topic import DeadLetterTopic, Filters
from backbeat.schemas.kafka.dead_letters import OUTCOME_DROPPED, dead_letter, mark_headers
from backbeat.schemas.kafka.topics import DEAD_LETTERS, ensure_topics

_COUNT = 20_000
#: Offsets of the letters with another reason, and that of the letter whose mark is the last record.
_MARKED, _OTHERS = 100, (100, 3_000, 12_345)


@pytest.fixture(scope="module")
def letters(kafka: str) -> str:
    ensure_topics(kafka, 1, 1, development=True)
    # In order also where the first of them come before the new topic has a leader.
    producer = Producer({"bootstrap.servers": kafka, "enable.idempotence": True})
    for offset in range(_COUNT):
        reason = "rare" if offset in _OTHERS else "common"
        key, value, headers = dead_letter(b"k", b"v", [], reason=reason, topic="t", partition=0, offset=offset)
        producer.produce(DEAD_LETTERS, key=key, value=value, headers=headers, partition=0)
    producer.produce(DEAD_LETTERS, headers=mark_headers(_MARKED, OUTCOME_DROPPED), partition=0)
    assert producer.flush(120) == 0
    return kafka


def test_a_search_reads_more_at_once_the_longer_nothing_matches(letters, monkeypatch):
    with DeadLetterTopic(letters) as topic:
        windows: list[int] = []
        read = topic._read

        def noted(partition: int, start: int, end: int, *more: Any, **options: Any) -> Any:
            windows.append(end - start)
            return read(partition, start, end, *more, **options)

        monkeypatch.setattr(topic, "_read", noted)
        rare = Filters(reason="rare")
        rare_letters, older_than = topic.newest(10, rare.match, contents=False)
        assert ([letter.position.offset for letter in rare_letters], older_than) == ([3_000, 12_345], None)
        assert windows[:4] == [500, 1_000, 2_000, 4_000]
        # Begun anew behind a letter that matches, and never more at once.
        assert windows.count(500) > 1
        assert max(windows) == 4_000
        assert sum(windows) == _COUNT + 1

        # Whole letters are not held in such numbers.
        windows.clear()
        (rarest,), _ = topic.newest(1, rare.match)
        assert rarest.position.offset == 12_345
        assert max(windows) == 500

        anywhere = Filters(state=None, reason="rare")
        assert [letter.state for letter in topic.find(anywhere.match)] == ["dropped", "waiting", "waiting"]
