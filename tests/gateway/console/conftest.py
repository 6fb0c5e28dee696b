"""What the console's tests share: one Kafka, one engine, a gateway for each way in, one browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backbeat.compose.local.ports import free_port
from backbeat.compose.local.stack import Stack
from backbeat.streams.kafka.registration import add_client
from tests.empty_kafka import delete_topics, stack_on
from tests.gateway.api.door import Door, User
from tests.gateway.console.browser import Tab, chromium
from tests.gateway.console.story import Story

FOLDER = Path(__file__).parent
ORDER = {"test_first_run.py": 0, "test_people.py": 2}
START_SECONDS_MAX = 180.0
#: What the read-only gateway links to.
LINKS = (
    "Logs=https://logs.example/search?q={tid}&node={node_id}",
    "Orders=https://shop.example/{client}?of={subject}#{workflow_id}",
)
_NEEDS_KAFKA = {"stack", "story", "tab", "console"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for the stack is `integration`. First comes what needs an empty system, last what locks out."""
    places = [place for place, item in enumerate(items) if item.path.is_relative_to(FOLDER)]
    ours = sorted((items[place] for place in places), key=lambda item: ORDER.get(item.path.name, 1))
    for place, item in zip(places, ours, strict=True):
        items[place] = item
        if _NEEDS_KAFKA & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="package")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of archives."""
    return tmp_path_factory.mktemp("archives")


@pytest.fixture(scope="package")
def drills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of drills."""
    return tmp_path_factory.mktemp("drills")


@pytest.fixture(scope="package")
def codec_url() -> str:
    """Where browsers have payloads decoded; a test starts what answers there."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="package")
def stack(
    broker: str, archives: Path, drills: Path, codec_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Gateways: 0 where everybody is let in, 1 with a login, 2 alone and read only."""
    secret = tmp_path_factory.mktemp("secret") / "secret"
    secret.write_text("0123456789abcdef0123456789abcdef")
    delete_topics(broker)
    topology = tmp_path_factory.mktemp("topology") / "staging.toml"
    # Nothing listens there: a run is under way until it knows that.
    topology.write_text(
        'bootstrap_servers = "127.0.0.1:1"\n[[service]]\nname = "engine-<b>"\nrole = "engine"\n', encoding="utf-8"
    )
    views = tmp_path_factory.mktemp("views") / "views.toml"
    views.write_text(
        '[[view]]\nname = "Night & shift"\npath = "nodes?status=retries_exhausted&client=shop"\n'
        '[[view]]\nname = "Stuck at the bank"\npath = "stuck?client=bank"\n',
        encoding="utf-8",
    )
    proxied = ["--ui-user-header=X-Forwarded-User", "--ui-trusted-proxy=127.0.0.2", "--ui-trusted-proxy=10.0.0.0/8"]
    folders = [
        *(f"--archive-to={archives.as_uri()}", "--archive-poll-seconds=600"),
        *(f"--ui-drills={drills}", f"--ui-drill-topology={topology}"),
    ]
    started = stack_on(
        broker,
        partitions=2,
        http_port=free_port(),
        gateways=[
            [
                "--ui=on",
                "--ui-login=none",
                "--ui-name=test",
                "--ui-colour=green",
                f"--ui-codec-url={codec_url}",
                *folders,
            ],
            [
                *("--ui=on", "--ui-secret-file", str(secret), "--ui-host=backbeat.example", f"--ui-views={views}"),
                *folders,
                *proxied,
            ],
            ["--ui=only", "--ui-login=none", "--ui-read-only", *(f"--ui-link={link}" for link in LINKS)],
        ],
    )
    try:
        yield started.start(START_SECONDS_MAX)
    finally:
        started.stop()
        delete_topics(broker)


@pytest.fixture(scope="package")
def story(stack: Stack, archives: Path, drills: Path) -> Story:
    """Workflows of every kind of node, with names, subjects, errors and payloads that mean no good."""
    client = add_client(stack.bootstrap_servers, "shop", partitions=2)
    user = User(Door(stack.http_urls[0], client.id), client, "")
    # Once one was delivered the engine knows the client: what has no retries would not survive before that.
    user.sent()
    return Story(user, stack.bootstrap_servers, archives, drills)


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def tab(browser: Any, stack: Stack) -> Iterator[Callable[..., Tab]]:
    """Opens tabs, each with a context of its own, and without JavaScript unless the test wants it."""
    tabs: list[Tab] = []

    def open_tab(base: str | None = None, **options: Any) -> Tab:
        options = {"java_script_enabled": False, "viewport": {"width": 1280, "height": 800}, **options}
        tabs.append(Tab(browser, base or f"{stack.http_urls[0]}/ui/", **options))
        return tabs[-1]

    yield open_tab
    for started in tabs:
        started.close()
