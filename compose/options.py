"""Options that several commands share."""

import click

bootstrap_option = click.option(
    "--bootstrap-servers",
    envvar="BACKBEAT_BOOTSTRAP_SERVERS",
    default="127.0.0.1:9092",
    show_default=True,
    show_envvar=True,
    metavar="HOST:PORT,…",
    help="The Kafka to use.",
)
development_option = click.option(
    "--development",
    envvar="BACKBEAT_DEVELOPMENT",
    is_flag=True,
    help="Accept topics with one replica: where losing everything with one disk is acceptable.",
)
replication_option = click.option(
    "--replication",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Replicas of each partition of the topics that are made.",
)
partitions_option = click.option(
    "--partitions",
    type=click.IntRange(min=1, max=4096),
    default=None,
    help="Partitions of commands, queries, state and history, fixed once made.  [default: what is there, else 8]",
)
