"""`backbeat backup` and `backbeat restore`."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backbeat.compose.cli.exit_codes import CommandError, Exit
from backbeat.compose.cli.options import (
    application_option,
    bootstrap_option,
    development_option,
    json_option,
    replication_option,
    setting,
)

if TYPE_CHECKING:
    from backbeat.compose.backup.manifest import Manifest

_registry_option = setting(
    "--schema-registry-url", "The schema registry that records refer to, where there is one.", metavar="URL"
)
_MEBIBYTE = 1024 * 1024


class _BackupGroup(click.Group):
    """`backup DEST` is `backup create DEST`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names, else `create`."""
        if args and args[0] not in self.commands:
            args = ["create", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Options of `create` may come first."""
        if args and args[0].startswith("-") and args[0] not in {*ctx.help_option_names}:
            args = ["create", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_BackupGroup,
    epilog="""\b
Examples:
  backbeat backup /mnt/backups/2026-11-29 --bootstrap-servers kafka-1:9092
  backbeat backup "s3://bucket/backbeat/2026-11-29?region=eu-central-1"
  backbeat backup check /mnt/backups/2026-11-29
""",
)
def backup() -> None:
    """Copy everything that Kafka has of Backbeat into files, while all of it runs; check such files.

    `backbeat backup DEST` is `backbeat backup create DEST`. `backbeat restore` puts it back.
    """


@backup.command(
    epilog="""\b
Examples:
  backbeat backup create /mnt/backups/2026-11-29 --bootstrap-servers kafka-1:9092
  backbeat backup create "s3://bucket/backbeat/2026-11-29?region=eu-central-1" --json
"""
)
@click.argument("destination", metavar="DEST")
@bootstrap_option
@application_option
@_registry_option
@json_option
def create(
    destination: str, bootstrap_servers: str, application_id: str, schema_registry_url: str | None, *, as_json: bool
) -> None:
    """Back up to DEST: a folder, file:///folder or s3://bucket/prefix. It must hold no backup yet.

    Engines, workers and gateways may run. The backup is of one moment, as if all engines had been killed then; what was
    acknowledged later is not in it.
    """
    from backbeat.compose.backup.backup import Backup
    from backbeat.compose.backup.parts import open_backup_store
    from backbeat.compose.cli.show.progress import Progress
    from backbeat.compose.verify.log import LogError, Topics
    from backbeat.schemas import codec

    store = open_backup_store(destination)
    codec.configure(schema_registry_url)
    with Progress("looking at the topics", lambda text: click.echo(text, err=True)) as progress:
        try:
            topics = Topics(bootstrap_servers)
            manifest = Backup(topics, store, progress.show, application_id).run(destination)
        except LogError as error:
            raise CommandError(f"{error}.", Exit.UNREACHABLE) from error
    _print(manifest, as_json=as_json)


@backup.command(
    epilog="""\b
Examples:
  backbeat backup check /mnt/backups/2026-11-29
  backbeat backup check s3://bucket/backbeat/2026-11-29 --json

Exit codes: 0 all of it can be read and is as it was written; 1 it is not.
"""
)
@click.argument("source")
@json_option
def check(source: str, *, as_json: bool) -> None:
    """Read all of a backup, and compare checksums and numbers."""
    _print(_checked(source)[1], as_json=as_json)


@click.command(
    epilog="""\b
Examples:
  backbeat restore /mnt/backups/2026-11-29 --bootstrap-servers new-kafka-1:9092
  backbeat restore s3://bucket/backbeat/2026-11-29 --replication 1 --development
  backbeat restore /mnt/backups/2026-11-29 --partitions 64 --bootstrap-servers new-kafka-1:9092

Exit codes: 0 restored, and judged to be right; 1 not restored, or the judge finds a difference; 3 Kafka cannot be
reached; 5 restored, and not all of it could be judged, since the original's commands begin later than at 0.
"""
)
@click.argument("source")
@bootstrap_option
@application_option
@replication_option
@development_option
@_registry_option
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    help="Another number of partitions than the backup's: its commands are replayed.  [default: the backup's]",
)
@click.option("--no-verify", is_flag=True, help="Do not run `backbeat verify` over what was restored.")
@json_option
def restore(
    source: str,
    bootstrap_servers: str,
    application_id: str,
    replication: int,
    schema_registry_url: str | None,
    partitions: int | None,
    *,
    development: bool,
    no_verify: bool,
    as_json: bool,
) -> None:
    """Put a backup into a cluster that has no record of Backbeat's, and verify it.

    SOURCE is the folder or URL of a backup. All of its files are checked before anything is written. The topics are
    made as `backbeat topics create` makes them, with the backup's partitions. Start engines, gateways and workers when
    it has ended: workflows go on from where the backup was taken.

    With --partitions the commands are laid into so many partitions and replayed by the engine's rules; the state must
    be the backup's, or nothing is written. It takes all commands from the beginning, and none of jobs.
    """
    from backbeat.compose.backup.repartition import Repartition
    from backbeat.compose.backup.restore import Restore
    from backbeat.compose.cli.show.progress import Progress
    from backbeat.compose.verify.judge import Judge
    from backbeat.compose.verify.log import LogError, Topics
    from backbeat.gateway.archiving.stores import FolderStore
    from backbeat.schemas import codec

    codec.configure(schema_registry_url)
    store, manifest = _checked(source)
    with ExitStack() as stack:
        progress = stack.enter_context(Progress("looking at the cluster", lambda text: click.echo(text, err=True)))
        make = partial(
            Restore,
            bootstrap_servers,
            source=source,
            say=progress.show,
            application_id=application_id,
            replication=replication,
            development=development,
        )
        if partitions not in (None, manifest.partitions):
            # A replay takes long: what would be refused behind it is refused before.
            make(store=store, manifest=manifest).check()
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="backbeat-restore-")))
            into = FolderStore(folder, is_private=True)
            manifest = Repartition(store, manifest, source, partitions, into, progress.show).run()
            store = into
        make(store=store, manifest=manifest).run()
        try:
            verdict = None if no_verify else Judge(Topics(bootstrap_servers), progress.show, schema_registry_url).run()
        except LogError as error:
            raise CommandError(f"{error}.", Exit.UNREACHABLE) from error
    more = {} if verdict is None else {"verdict": verdict.as_json()}
    _print(manifest, as_json=as_json, **more)
    if verdict is None:
        return
    if not as_json:
        for line in verdict.lines():
            click.echo(line)
    if not verdict.agrees:
        raise click.exceptions.Exit(Exit.FAILED)
    if verdict.unjudged:
        raise click.exceptions.Exit(Exit.INCOMPLETE)


def _checked(source: str) -> tuple[Any, Manifest]:
    """Store and manifest of a backup that is as it was written."""
    from backbeat.compose.backup.manifest import read_manifest
    from backbeat.compose.backup.parts import check_all, open_backup_store
    from backbeat.compose.cli.show.progress import Progress

    store = open_backup_store(source)
    manifest = read_manifest(store, source)
    with Progress("checking the files", lambda text: click.echo(text, err=True)) as progress:
        for topic, partition in check_all(store, source, manifest):
            progress.show(f"checked {topic} {partition}")
    return store, manifest


def _print(manifest: Manifest, *, as_json: bool, **more: Any) -> None:
    from backbeat.compose.cli.show.printing import emit, print_table

    rows = [
        (topic.name, len(topic.partitions), sum(copy.records for copy in topic.partitions)) for topic in manifest.topics
    ]
    if as_json:
        emit(
            {
                "made_at": manifest.made_at,
                "version": manifest.version,
                "partitions": manifest.partitions,
                "positions": {str(number): offset for number, offset in sorted(manifest.positions.items())},
                "records": manifest.records_count,
                "bytes": manifest.bytes_count,
                "topics": [
                    {"name": name, "partitions": partitions, "records": records} for name, partitions, records in rows
                ],
                **more,
            }
        )
        return
    print_table(
        ("TOPIC", "PARTITIONS", "RECORDS"), [(name, str(count), f"{records:,}") for name, count, records in rows]
    )
    click.echo(
        f"made {manifest.made_at} by Backbeat {manifest.version}: {manifest.records_count:,} records, "
        f"{manifest.bytes_count / _MEBIBYTE:,.1f} MiB"
    )
