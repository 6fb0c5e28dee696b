"""`backbeat topics`: make the topics, or see whether they are right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from backbeat.compose.cli.exit_codes import Exit
from backbeat.compose.cli.options import (
    bootstrap_option,
    development_option,
    json_option,
    partitions_option,
    replication_option,
)

if TYPE_CHECKING:
    from backbeat.streams.kafka.topic_survey import SurveyedTopic


@click.group()
def topics() -> None:
    """Make or check the topics."""


@topics.command(
    epilog="""\b
Examples:
  backbeat topics create --bootstrap-servers kafka-1:9092 --partitions 64
  backbeat topics create --partitions 8 --replication 1 --development

The number of partitions is fixed from then on, since every id carries its partition: take more than there will ever
be engines.
"""
)
@bootstrap_option
@partitions_option
@replication_option
@development_option
@json_option
def create(
    bootstrap_servers: str, partitions: int | None, replication: int, *, development: bool, as_json: bool
) -> None:
    """Make the topics that are missing and check all of them. What is there is never changed."""
    from backbeat.schemas.kafka.topics import ensure_topics

    ensure_topics(bootstrap_servers, partitions, replication, development=development)
    _print_survey(bootstrap_servers, partitions, development=development, as_json=as_json)


@topics.command(
    epilog="""\b
Examples:
  backbeat topics check --bootstrap-servers kafka-1:9092
  backbeat topics check --json | jq -r '.topics[] | select(.state != "ok") | .name'

Exit codes: 0 all is right, 1 something is wrong or missing, 3 Kafka cannot be reached.
"""
)
@bootstrap_option
@partitions_option
@development_option
@json_option
def check(bootstrap_servers: str, partitions: int | None, *, development: bool, as_json: bool) -> None:
    """Compare all topics with what they must be, those of client applications too, and say what to do.

    Partitions, replicas, cleanup, timestamps and record sizes must be right: engines refuse to start else. Other
    settings are an operator's; where they differ from what the topics were made with, it is said.
    """
    _print_survey(bootstrap_servers, partitions, development=development, as_json=as_json)


def _print_survey(bootstrap_servers: str, partitions: int | None, *, development: bool, as_json: bool) -> None:
    from backbeat.compose.cli.show.printing import emit, note, print_table
    from backbeat.streams.kafka.topic_survey import survey

    surveyed = survey(bootstrap_servers, partitions, development=development)
    problems = [problem for topic in surveyed for problem in topic.problems]
    if as_json:
        emit({"ok": not problems, "topics": [_json_row(topic) for topic in surveyed]})
    else:
        print_table(("TOPIC", "PARTITIONS", "REPLICAS", "", "ID"), (_row(topic) for topic in surveyed))
        for topic in surveyed:
            for text in topic.notes:
                click.echo(f"{topic.spec.name}: {text}")
    for problem in problems:
        note(f"Error: {problem}")
    if problems:
        raise click.exceptions.Exit(Exit.FAILED)


def _state(topic: SurveyedTopic) -> str:
    if topic.description is None:
        return "missing"
    return "wrong" if topic.problems else "ok"


def _row(topic: SurveyedTopic) -> tuple[Any, ...]:
    from rich.text import Text

    state = Text(_state(topic), style="bold red" if topic.problems else "green")
    if topic.description is None:
        return topic.spec.name, "", "", state, ""
    return (
        topic.spec.name,
        str(topic.description.partitions),
        str(topic.description.replication),
        state,
        topic.description.topic_id,
    )


def _json_row(topic: SurveyedTopic) -> dict[str, Any]:
    description = topic.description
    return {
        "name": topic.spec.name,
        "state": _state(topic),
        "partitions": None if description is None else description.partitions,
        "partitions_wanted": topic.spec.partitions if topic.spec.partitions_fixed else None,
        "replicas": None if description is None else description.replication,
        "topic_id": None if description is None else description.topic_id,
        "problems": [
            {"found": problem.found, "wanted": problem.wanted, "remedy": problem.remedy} for problem in topic.problems
        ],
        "notes": topic.notes,
    }
