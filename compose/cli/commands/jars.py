"""`backbeat jars`: bring Apache Kafka's jars into the cache folder now rather than at the first start."""

from pathlib import Path

import click

from backbeat.compose.local.jars.class_archive import prepare_kafka
from backbeat.compose.local.jars.jars import from_folder, from_maven, from_repository


@click.command(
    epilog="""\b
Examples:
  backbeat jars                     from Maven Central, or where BACKBEAT_MAVEN_REPOSITORY or ~/.m2/settings.xml says
  HTTPS_PROXY=http://proxy:3128 backbeat jars
  backbeat jars --maven             by Maven, with all of its settings
  backbeat jars --from /media/jars  a copy of the folder that `backbeat jars` prints on a machine with a network
"""
)
@click.option(
    "--from",
    "source_folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Copy the jars from this folder: no network is needed.",
)
@click.option("--maven", is_flag=True, help="Let Maven fetch them.")
def jars(source_folder: Path | None, *, maven: bool) -> None:
    """Bring Apache Kafka's jars into the cache folder, once, and prepare a quick start.

    Each is checked by its SHA-256. What has come stays when something breaks off, and the next try goes on from there.
    """
    if maven and source_folder is not None:
        raise click.UsageError("--maven and --from are two ways: leave one out.")
    source = from_maven if maven else from_repository if source_folder is None else from_folder(source_folder)
    click.echo(f"Apache Kafka's jars: {prepare_kafka(source=source)}")
