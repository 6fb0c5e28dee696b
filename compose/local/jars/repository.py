"""The Maven repository that Kafka's jars come from: Maven Central, or the mirror of it that this machine has."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from backbeat.compose.cli.errors import SetupError

CENTRAL = "https://repo.maven.apache.org/maven2"
#: Another repository's URL, with user:password@ where it asks for them.
VARIABLE = "BACKBEAT_MAVEN_REPOSITORY"


@dataclass(frozen=True)
class Repository:
    """A repository's URL, the place where that was read, and the credentials."""

    url: str
    source: str
    user: tuple[str, str] | None = None

    @property
    def host(self) -> str:
        """Its host, with the port where it is an unusual one; never the password."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


def find_repository() -> Repository:
    """The repository of BACKBEAT_MAVEN_REPOSITORY, else Central's mirror in Maven's settings, else Central."""
    url = os.environ.get(VARIABLE)
    repository = Repository(url, VARIABLE) if url else _mirror() or Repository(CENTRAL, "Maven Central")
    if urlsplit(repository.url).scheme not in {"http", "https"} or not repository.host:
        raise SetupError(
            f"the Maven repository in {repository.source} has no http:// or https:// URL. What to do: mend it there."
        )
    return repository


def _mirror() -> Repository | None:
    """The mirror of Central in the user's settings of Maven."""
    path = Path.home() / ".m2" / "settings.xml"
    if not path.is_file():
        return None
    try:
        settings = ET.fromstring(path.read_bytes())  # noqa: S314 - the user's own file
    except (OSError, ET.ParseError) as error:
        raise SetupError(f"{path} cannot be read: {error}. What to do: mend it, or set {VARIABLE}.") from error
    for mirror in settings.findall("{*}mirrors/{*}mirror"):
        mirrored = {word.strip() for word in _text(mirror, "mirrorOf").split(",")}
        if (
            mirrored & {"*", "external:*", "central"}
            and "!central" not in mirrored
            and _text(mirror, "blocked") != "true"
        ):
            return Repository(_text(mirror, "url"), str(path), _user(settings, _text(mirror, "id")))
    return None


def _user(settings: ET.Element, server_id: str) -> tuple[str, str] | None:
    for server in settings.findall("{*}servers/{*}server"):
        user, password = _text(server, "username"), _text(server, "password")
        # In braces it is encrypted, with a key that Maven has.
        if _text(server, "id") == server_id and user and not password.startswith("{"):
            return user, password
    return None


def _text(element: ET.Element, name: str) -> str:
    """Text of a child element, with ${env.NAME} put in."""
    text = (element.findtext(f"{{*}}{name}") or "").strip()
    return re.sub(r"\$\{env\.([^}]+)\}", lambda match: os.environ.get(match[1], match[0]), text)
