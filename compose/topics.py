"""`backbeat topics`: make the topics, or see whether they are right."""

import click

from backbeat.compose.options import bootstrap_option, development_option, partitions_option, replication_option


@click.group()
def topics() -> None:
    """Make or check the topics."""


@topics.command(
    epilog="""\b
Examples:
  backbeat topics create --bootstrap-servers kafka-1:9092 --partitions 64
  backbeat topics create --partitions 8 --replication 1 --development
"""
)
@bootstrap_option
@partitions_option
@replication_option
@development_option
def create(bootstrap_servers: str, partitions: int | None, replication: int, *, development: bool) -> None:
    """Make the topics that are missing and check all of them."""
    from backbeat.streams.topics import ensure_topics

    found = ensure_topics(bootstrap_servers, partitions, replication, development=development)
    for topic in found.values():
        click.echo(f"{topic.name}: {topic.partitions} partitions, {topic.replication} replicas")


@topics.command(epilog="Example: backbeat topics check --bootstrap-servers kafka-1:9092")
@bootstrap_option
@partitions_option
@development_option
def check(bootstrap_servers: str, partitions: int | None, *, development: bool) -> None:
    """Check the topics; ends with exit code 1 and the reason where one is wrong."""
    from backbeat.streams.topics import check_topics

    found = check_topics(bootstrap_servers, partitions, development=development)
    for topic in found.values():
        click.echo(f"{topic.name}: {topic.partitions} partitions, {topic.replication} replicas, id {topic.topic_id}")
