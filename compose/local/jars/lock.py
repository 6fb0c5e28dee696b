"""kafka-jars.lock: the jars of an Apache Kafka broker, each by its coordinates, with its size and SHA-256.

The one source of truth: whatever brings the jars (a repository, Maven, a folder), they are those of the lock. It is
written from pom.xml, which names the Kafka, and the jars that no broker needs:

    python -m backbeat.compose.local.jars.lock      (`make relock`; needs Maven)
"""

import hashlib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

from backbeat.compose.cli.errors import SetupError

PATH = Path(__file__).with_name("kafka-jars.lock")

_HEAD = """\
# What an Apache Kafka broker needs: group:artifact:version, bytes, SHA-256. Made from pom.xml by `make relock`.
# pom.xml {digest}
"""


class Jar(NamedTuple):
    """A file of a Maven repository, and its expected content."""

    coordinates: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name, in a repository and in a folder of jars."""
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"

    @property
    def path(self) -> str:
        """The file's path in a repository."""
        group, artifact, version = self.coordinates.split(":")
        return "/".join([*group.split("."), artifact, version, self.name])

    @classmethod
    def at(cls, repository: Path, path: Path) -> Self:
        """The jar at a path of a folder that is laid out as a repository."""
        *group, artifact, version, _ = path.relative_to(repository).parts
        return cls(f"{'.'.join(group)}:{artifact}:{version}", path.stat().st_size, digest(path))

    def is_at(self, path: Path) -> bool:
        """True where this path has this jar, whole and unchanged."""
        return path.is_file() and path.stat().st_size == self.size and digest(path) == self.sha256


def digest(path: Path) -> str:
    """A file's SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(text: str) -> list[Jar]:
    """The jars of a lock file."""
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return [Jar(coordinates, int(size), sha256) for coordinates, size, sha256 in lines]


def write(jars: Iterable[Jar], pom: Path) -> str:
    """A lock file of these jars, made from this pom."""
    return _HEAD.format(digest=digest(pom)) + "".join(f"{jar.coordinates} {jar.size} {jar.sha256}\n" for jar in jars)


def version(jars: Iterable[Jar]) -> str:
    """The version of Apache Kafka among these jars."""
    return next(jar.coordinates.split(":")[2] for jar in jars if jar.coordinates.startswith("org.apache.kafka:kafka_"))


def main() -> None:
    """Write the lock anew, from the jars that Maven resolves the pom to."""
    from backbeat.compose.local.jars.maven import POM, copy_jars

    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        copy_jars(repository, print, layout=True)
        jars = sorted(Jar.at(repository, path) for path in repository.rglob("*.jar"))
    if not jars:
        raise SetupError("Maven brought no jar.")
    PATH.write_text(write(jars, POM))
    print(f"{PATH}: {len(jars)} jars, {sum(jar.size for jar in jars) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
