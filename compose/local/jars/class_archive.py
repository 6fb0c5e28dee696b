"""A Kafka that starts in half the time: Java's archive of the classes that it loads, made once beside the jars.

Each Java has its own: one of version 25 or newer an AOT cache (JEP 514), which needs nothing of the Java but itself; an
older one an archive on top of the Java's own (JEP 350). Java checks it against its own version and the jars, and goes
without where they differ: a wrong one costs time only. Making one takes some seconds; so it is made when the jars are
fetched, not while somebody waits.
"""

import contextlib
import os
import tempfile
import time
from pathlib import Path

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.show.progress import Progress, Say
from backbeat.compose.local.cache import alone
from backbeat.compose.local.jars.jars import Source, kafka_jars
from backbeat.compose.local.jars.java import Java, find_java
from backbeat.compose.local.kafka import AOT_MAJOR, KafkaBroker, archive_path

_SECONDS_MAX = 180.0


def prepare_kafka(say: Say = print, source: Source | None = None) -> Path:
    """The folder with Kafka's jars, and this Java's archive in it; both are made first where they are missing."""
    folder = kafka_jars(say, source)
    archive = archive_path(find_java())
    if not archive.exists() and os.access(folder, os.W_OK):
        with alone(folder.name, "preparing Kafka's start", say):
            if not archive.exists():
                _make_archive(archive, find_java(), say)
    return folder


def _make_archive(archive: Path, java: Java, say: Say) -> None:
    """Run a throw-away Kafka once and let Java keep the classes that it loaded."""
    say("Preparing a quicker start of Kafka (once) …")
    began_at = time.monotonic()
    unfinished = archive.with_name(f"{archive.name}.unfinished")
    option = "AOTCacheOutput" if java.major >= AOT_MAJOR else "ArchiveClassesAtExit"
    with tempfile.TemporaryDirectory(prefix="backbeat-kafka-") as folder, Progress("starting and stopping it", say):
        options = [f"-XX:{option}={unfinished}"]
        broker = KafkaBroker(Path(folder), say=say, java_options=options, stop_seconds=_SECONDS_MAX)
        try:
            try:
                broker.start(_SECONDS_MAX)
            finally:
                broker.stop()
            for old_archive in archive.parent.glob(f"{archive.stem.rpartition('-')[0]}-*"):
                if old_archive != unfinished:
                    old_archive.unlink()
            unfinished.replace(archive)
        except (SetupError, OSError) as error:
            # Kafka starts without as well; an empty archive tells that it need not be tried at every start.
            say(f"Kafka will start without the archive: {error}")
            with contextlib.suppress(OSError):
                archive.touch()
            return
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
    say(f"Prepared, in {time.monotonic() - began_at:.0f} s.")
