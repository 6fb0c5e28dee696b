"""Apache Kafka's jars: brought once into a cache folder, as kafka-jars.lock names them, and taken from there after.

The folder appears by a rename once it is whole and checked. The jars fetched before that stay in a folder beside it,
for the next try; of several processes one fetches, and the others wait for it.
"""

import errno
import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.show.progress import Say
from backbeat.compose.local.cache import alone, cache_folder
from backbeat.compose.local.jars import lock
from backbeat.compose.local.jars.java import find_java

_LOCK = lock.PATH.read_text()
JARS = lock.read(_LOCK)
KAFKA_VERSION = lock.version(JARS)
_NAMED_MAX = 3
_MEGABYTES = sum(jar.size for jar in JARS) / 1e6

#: Brings the jars into a folder, and tells its progress.
Source = Callable[[Path, Say], None]


def jars_folder() -> Path:
    """The folder of this version's jars, which may not be there yet.

    The lock's digest is in the name: another lock has another folder, and never changes one under a running broker.
    """
    return cache_folder() / f"kafka-{KAFKA_VERSION}-{hashlib.sha256(_LOCK.encode()).hexdigest()[:8]}"


def kafka_jars(say: Say = print, source: Source | None = None) -> Path:
    """The folder with Kafka's jars; brings them there first where they are not yet, which `say` tells."""
    folder = jars_folder()
    if folder.is_dir():
        return folder
    find_java()
    with alone(folder.name, "fetching Apache Kafka", say):
        if folder.is_dir():
            return folder
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        began_at = time.monotonic()
        try:
            unfinished.mkdir(exist_ok=True)
            (source or from_repository)(unfinished, say)
            _check(unfinished)
            unfinished.rename(folder)
        except OSError as error:
            raise SetupError(_describe(error, unfinished)) from error
    say(f"Apache Kafka {KAFKA_VERSION} is there: {len(JARS)} jars, in {time.monotonic() - began_at:.0f} s.")
    return folder


def from_repository(folder: Path, say: Say) -> None:
    """Fetch the jars from Maven Central or its mirror, over HTTP."""
    try:
        from backbeat.compose.local.jars.download import Download
    except ImportError as error:
        raise SetupError(
            f"{error.name} is missing, which fetches Kafka's jars. "
            'What to do: pip install "backbeat[dev-server]", or let Maven fetch them: backbeat jars --maven.'
        ) from error
    from backbeat.compose.local.jars.repository import find_repository

    repository = find_repository()
    say(f"Fetching Apache Kafka {KAFKA_VERSION} from {repository.host} (once, {_MEGABYTES:.0f} MB) into {folder} …")
    Download(JARS, folder, repository, say).run()


def from_maven(folder: Path, say: Say) -> None:
    """Have Maven fetch the jars, with all of its own settings."""
    from backbeat.compose.local.jars.maven import copy_jars

    say(f"Fetching Apache Kafka {KAFKA_VERSION} with Maven (once) …")
    copy_jars(folder, say)


def from_folder(source_folder: Path) -> Source:
    """A source that copies the jars of a folder: another machine's, or the `libs` of a Kafka of this version."""

    def copy(folder: Path, say: Say) -> None:
        say(f"Copying Apache Kafka {KAFKA_VERSION} from {source_folder} …")
        missing = [jar.name for jar in JARS if not jar.is_at(source_folder / jar.name)]
        if missing:
            missing_names = ", ".join(missing[:_NAMED_MAX]) + (", …" if len(missing) > _NAMED_MAX else "")
            raise SetupError(
                f"{source_folder} has not the jars of Apache Kafka {KAFKA_VERSION} that kafka-jars.lock names; missing "
                f"or different are {len(missing)} of {len(JARS)}: {missing_names}. What to do: copy the folder that "
                "`backbeat jars` prints on a machine with a network, of the same version of Backbeat."
            )
        for jar in JARS:
            shutil.copyfile(source_folder / jar.name, folder / jar.name)

    return copy


def _check(folder: Path) -> None:
    """Check that all jars are there as the lock has them; anything else is removed. SetupError."""
    missing = [jar.name for jar in JARS if not jar.is_at(folder / jar.name)]
    for name in missing:
        (folder / name).unlink(missing_ok=True)
    if missing:
        raise SetupError(f"these are not as kafka-jars.lock names them: {', '.join(missing)}. What to do: try again.")
    for path in set(folder.iterdir()) - {folder / jar.name for jar in JARS}:
        path.unlink()


def _describe(error: OSError, folder: Path) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return (
            f"no room is left for Kafka's jars in {folder}. What to do: make room ({_MEGABYTES:.0f} MB in all), or "
            "name another cache folder with XDG_CACHE_HOME; the next try goes on from what is there."
        )
    return f"Kafka's jars cannot be kept: {error}. What to do: mend that, or name another cache folder: XDG_CACHE_HOME."
