"""`backbeat dead-letters`: the records that were refused, and why."""

import time
from collections.abc import Iterator

import click
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from backbeat.compose.errors import SetupError
from backbeat.compose.options import bootstrap_option
from backbeat.streams.brokers import describe, reach
from backbeat.streams.dead_letters import REASON, SOURCE_OFFSET, SOURCE_PARTITION, SOURCE_TOPIC, headers_of
from backbeat.streams.topics import DEAD_LETTERS

_ANSWER_SECONDS_MAX = 20.0
_POLL_SECONDS = 0.2
_START_CHARACTERS = 100


@click.group()
def dead_letters() -> None:
    """Look at records that were refused."""


@dead_letters.command(
    "list",
    epilog="""\b
Examples:
  backbeat dead-letters list
  backbeat dead-letters list --last 5 --bootstrap-servers kafka-1:9092
""",
)
@bootstrap_option
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many of each partition.")
def list_(bootstrap_servers: str, last: int) -> None:
    """List the newest refused records: when, where each stood, why, and how it begins."""
    topic = describe(reach(bootstrap_servers), [DEAD_LETTERS]).get(DEAD_LETTERS)
    if topic is None:
        raise SetupError(f"there is no topic {DEAD_LETTERS}. What to do: run `backbeat topics create`.")
    # The group is required by the library; nothing joins it and nothing is committed.
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "backbeat-dead-letters",
            "enable.auto.commit": False,
            "log_level": 2,
        }
    )
    shown = 0
    try:
        for partition in range(topic.partitions):
            for message in _newest(consumer, partition, last):
                shown += 1
                click.echo(_text(message))
    finally:
        consumer.close()
    if not shown:
        click.echo("There is none.")


def _newest(consumer: Consumer, partition: int, count: int) -> Iterator[Message]:
    low, high = consumer.get_watermark_offsets(TopicPartition(DEAD_LETTERS, partition), timeout=_ANSWER_SECONDS_MAX)
    start = TopicPartition(DEAD_LETTERS, partition, max(low, high - count))
    consumer.assign([start])
    position, deadline = start.offset, time.monotonic() + _ANSWER_SECONDS_MAX
    while position < high and time.monotonic() < deadline:
        message = consumer.poll(_POLL_SECONDS)
        if message is None:
            # A transaction's marker may stand at the end: it is no record, and the position passes it.
            position = max(position, consumer.position([start])[0].offset)
            continue
        error = message.error()
        if error is not None:
            raise KafkaException(error)
        position = (message.offset() or 0) + 1
        yield message


def _text(message: Message) -> str:
    headers = {name: (value or b"").decode(errors="replace") for name, value in headers_of(message)}
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(message.timestamp()[1] / 1000))
    source = f"{headers.get(SOURCE_TOPIC, '?')} {headers.get(SOURCE_PARTITION, '?')}@{headers.get(SOURCE_OFFSET, '?')}"
    value = (message.value() or b"")[:_START_CHARACTERS]
    return f"{when}  {source}\n    {headers.get(REASON, 'no reason given')}\n    {value!r}"
