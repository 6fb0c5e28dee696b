"""A Kafka that starts in half the time: Java's archive of the classes that it loads, made once beside the jars.

Java checks the archive against its own version and the jars, and goes without where they differ: a wrong one costs
time only. Making one takes some seconds; so it is made when the jars are fetched, not while somebody waits.
"""

import contextlib
import tempfile
from pathlib import Path

from backbeat.compose.errors import SetupError
from backbeat.compose.jars import Say, jars_folder, kafka_jars
from backbeat.compose.kafka import KafkaBroker, archive_path


def prepare_kafka(say: Say = print) -> Path:
    """The folder with Kafka's jars; fetches them and makes the archive first where they are not there yet."""
    fetch = not jars_folder().is_dir()
    folder = kafka_jars(say)
    if fetch:
        make_archive(say)
    return folder


def make_archive(say: Say = print) -> None:
    """Run a throw-away Kafka once and let Java keep what it loaded."""
    archive = archive_path()
    if archive.exists():
        return
    say("Preparing a quicker start of Kafka (once) …")
    unfinished = archive.with_suffix(".unfinished")
    with tempfile.TemporaryDirectory(prefix="backbeat-kafka-") as folder:
        broker = KafkaBroker(
            Path(folder), say=say, java_options=[f"-XX:ArchiveClassesAtExit={unfinished}"], stop_seconds=60
        )
        try:
            with broker:
                pass
            unfinished.replace(archive)
        except (SetupError, OSError) as error:
            # It starts without as well.
            say(f"Kafka will start without the archive: {error}")
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
