"""`backbeat jars`: fetch Apache Kafka's jars now rather than at the first start."""

import click

from backbeat.compose.archive import make_archive, prepare_kafka


@click.command(epilog="Example: backbeat jars")
def jars() -> None:
    """Fetch Apache Kafka's jars into the cache folder, once, with Maven."""
    folder = prepare_kafka()
    make_archive()
    click.echo(f"Apache Kafka's jars: {folder}")
