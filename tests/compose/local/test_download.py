"""Kafka's jars over HTTP, from a repository on loopback: whole, resumed, changed, refused; no network, and no room."""

import base64
import hashlib
import random
import threading
from pathlib import Path

import pytest

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.local.jars import download, jars
from backbeat.compose.local.jars.lock import Jar
from backbeat.compose.local.ports import free_port
from tests.compose.local.maven_repository import MavenRepository

RANDOM = random.Random(1)
BODIES = {f"org.shop:{name}:1.0": RANDOM.randbytes(size) for name, size in [("large", 400_000), ("small", 900)]}
JARS = [Jar(name, len(body), hashlib.sha256(body).hexdigest()) for name, body in BODIES.items()]
LARGE, SMALL = JARS


@pytest.fixture
def repository():
    with MavenRepository({f"/{jar.path}": BODIES[jar.coordinates] for jar in JARS}) as repository:
        yield repository


@pytest.fixture(autouse=True)
def place(repository, tmp_path, monkeypatch):
    """An empty cache and an empty home; the lock names two small files, which the repository on loopback has."""
    monkeypatch.setattr(jars, "JARS", JARS)
    monkeypatch.setattr(download, "_PAUSE_SECONDS_FIRST", 0.01)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("BACKBEAT_MAVEN_REPOSITORY", repository.url)


def fetch() -> Path:
    return jars.kafka_jars(lambda _: None)


def unfinished() -> Path:
    return jars.jars_folder().with_name(f"{jars.jars_folder().name}.unfinished")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


WHOLE = {jar.name: BODIES[jar.coordinates] for jar in JARS}


def test_jars_are_fetched_once_and_what_is_done_is_told(repository):
    lines = []

    first = jars.kafka_jars(lines.append)
    second = jars.kafka_jars(lines.append)

    assert first == second == jars.jars_folder()
    assert content(first) == WHOLE
    assert sorted(repository.paths()) == sorted(f"/{jar.path}" for jar in JARS)
    assert [line.split()[0] for line in lines] == ["Fetching", "Apache"]
    assert repository.url.removeprefix("http://") in lines[0]


def test_a_download_that_breaks_off_is_told_and_the_next_one_goes_on_from_there(repository):
    repository.break_off_after = 50_000
    attempts = download._ATTEMPTS_MAX

    with pytest.raises(SetupError, match=r"large-1\.0\.jar from 127\.0\.0\.1:\d+ broke off after 0\.2 of 0\.4 MB"):
        fetch()

    # Each attempt went on where the one before had broken off.
    asked = [request.range for request in repository.requests if request.path == f"/{LARGE.path}"]
    assert asked == [None, *(f"bytes={count * 50_000}-" for count in range(1, attempts))]
    assert not jars.jars_folder().exists()
    repository.break_off_after = None
    repository.requests.clear()
    assert content(fetch()) == WHOLE
    # Of the small one, which had come whole, nothing is asked.
    assert [(request.path, request.range) for request in repository.requests] == [
        (f"/{LARGE.path}", f"bytes={attempts * 50_000}-")
    ]


def test_a_short_break_is_mended_without_a_word(repository):
    repository.break_off_after = 150_000

    assert content(fetch()) == WHOLE


def test_a_server_without_ranges_is_asked_for_the_whole_again(repository):
    unfinished().mkdir(parents=True)
    (unfinished() / f"{LARGE.name}.part").write_bytes(BODIES[LARGE.coordinates][:1000])
    repository.ignores_ranges = True

    assert content(fetch()) == WHOLE


def test_a_part_that_is_spoilt_is_fetched_anew(repository):
    unfinished().mkdir(parents=True)
    (unfinished() / f"{LARGE.name}.part").write_bytes(b"x" * 1000)
    (unfinished() / f"{SMALL.name}.part").write_bytes(b"x" * (SMALL.size + 1))
    (unfinished() / "left-over.jar").write_bytes(b"of another lock")

    assert content(fetch()) == WHOLE


def test_another_file_than_the_lock_names_is_refused(repository):
    repository.files[f"/{SMALL.path}"] = b"y" * SMALL.size

    with pytest.raises(SetupError, match=r"small-1\.0\.jar .* is not the file that kafka-jars\.lock names"):
        fetch()

    assert not jars.jars_folder().exists()
    assert not (unfinished() / SMALL.name).exists()


def test_a_file_that_never_ends_is_refused(repository):
    repository.files[f"/{SMALL.path}"] = b"y" * 10_000_000

    with pytest.raises(SetupError, match=r"small-1\.0\.jar .* is not the file that kafka-jars\.lock names"):
        fetch()


@pytest.mark.parametrize(("status", "reason"), [(401, "Unauthorized"), (404, "Not Found")])
def test_a_repository_that_refuses_is_told_at_once(repository, status, reason):
    repository.status = status

    with pytest.raises(SetupError, match=rf"answers {status} {reason} for org/shop/.* BACKBEAT_MAVEN_REPOSITORY"):
        fetch()

    assert len(repository.requests) <= len(JARS)


def test_a_server_in_trouble_is_asked_again(repository):
    repository.status = 503

    with pytest.raises(SetupError, match=r"answers 503 Service Unavailable for org/shop/.* try again later"):
        fetch()

    assert len(repository.requests) >= download._ATTEMPTS_MAX


def test_without_a_network_one_sentence_says_what_to_do(monkeypatch, repository):
    monkeypatch.setenv("BACKBEAT_MAVEN_REPOSITORY", f"http://127.0.0.1:{free_port()}/maven2")

    with pytest.raises(
        SetupError, match=r"^127\.0\.0\.1:\d+ cannot be reached .*HTTPS_PROXY.*backbeat jars --help"
    ) as it:
        fetch()

    assert "\n" not in str(it.value)
    monkeypatch.setenv("BACKBEAT_MAVEN_REPOSITORY", repository.url)
    assert content(fetch()) == WHOLE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_told_and_the_next_try_goes_on():
    unfinished().mkdir(parents=True)
    full = unfinished() / f"{LARGE.name}.part"
    full.symlink_to("/dev/full")

    with pytest.raises(SetupError, match=r"^no room is left for Kafka's jars in .*XDG_CACHE_HOME"):
        fetch()

    full.unlink()
    assert content(fetch()) == WHOLE


def test_a_cache_folder_that_cannot_be_made_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    with pytest.raises(SetupError, match=r"the cache folder .* cannot be used: .*XDG_CACHE_HOME"):
        fetch()


def test_two_that_fetch_at_once_fetch_once(repository):
    repository.go_on.clear()
    lines: list[str] = []
    waiting = threading.Event()

    def tell(line: str) -> None:
        lines.append(line)
        if line.startswith("Another process is fetching Apache Kafka"):
            waiting.set()

    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.append(jars.kafka_jars(tell))) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert waiting.wait(120)
    repository.go_on.set()
    for thread in threads:
        thread.join(120)

    assert folders == [jars.jars_folder()] * 2
    assert content(folders[0]) == WHOLE
    assert len(repository.requests) == len(JARS)


def test_a_proxy_of_the_environment_is_used(repository, monkeypatch):
    monkeypatch.setenv("BACKBEAT_MAVEN_REPOSITORY", "http://maven.invalid")
    monkeypatch.setenv("HTTP_PROXY", repository.url)

    assert content(fetch()) == WHOLE
    assert {request.host for request in repository.requests} == {"maven.invalid"}


def test_a_mirror_of_mavens_settings_is_used_with_its_password(repository, monkeypatch):
    monkeypatch.delenv("BACKBEAT_MAVEN_REPOSITORY")
    monkeypatch.setenv("MIRROR_PASSWORD", "secret")
    settings = Path.home() / ".m2" / "settings.xml"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        f"""<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0">
          <mirrors>
            <mirror><id>blocker</id><mirrorOf>external:http:*</mirrorOf><url>http://0.0.0.0/</url></mirror>
            <mirror><id>snapshots</id><mirrorOf>*,!central</mirrorOf><url>http://0.0.0.0/</url></mirror>
            <mirror><id>ours</id><mirrorOf>central, other</mirrorOf><url>{repository.url}/</url></mirror>
          </mirrors>
          <servers>
            <server><id>other</id><username>x</username><password>y</password></server>
            <server><id>ours</id><username>shop</username><password>${{env.MIRROR_PASSWORD}}</password></server>
          </servers>
        </settings>"""
    )

    assert content(fetch()) == WHOLE
    expected = f"Basic {base64.b64encode(b'shop:secret').decode()}"
    assert {request.authorization for request in repository.requests} == {expected}


def test_a_password_in_the_url_is_used_and_never_told(repository, monkeypatch):
    monkeypatch.setenv("BACKBEAT_MAVEN_REPOSITORY", repository.url.replace("//", "//shop:secret@"))
    lines = []

    jars.kafka_jars(lines.append)

    expected = f"Basic {base64.b64encode(b'shop:secret').decode()}"
    assert {request.authorization for request in repository.requests} == {expected}
    assert "secret" not in str(lines)


@pytest.mark.parametrize("url", ["ftp://maven.invalid", "maven.invalid/maven2", "https:///maven2"])
def test_what_is_no_url_of_a_repository_is_refused(monkeypatch, url):
    monkeypatch.setenv("BACKBEAT_MAVEN_REPOSITORY", url)

    with pytest.raises(
        SetupError, match=r"the Maven repository in BACKBEAT_MAVEN_REPOSITORY has no http:// or https://"
    ):
        fetch()


def test_settings_of_maven_that_are_no_xml_are_told(monkeypatch):
    monkeypatch.delenv("BACKBEAT_MAVEN_REPOSITORY")
    settings = Path.home() / ".m2" / "settings.xml"
    settings.parent.mkdir(parents=True)
    settings.write_text("<settings>")

    with pytest.raises(SetupError, match=r"settings\.xml cannot be read: .*BACKBEAT_MAVEN_REPOSITORY"):
        fetch()
