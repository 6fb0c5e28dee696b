"""Large workflows, whole and by the page: both say the same.

BACKBEAT_TEST_NODES is how many nodes the workflow has; -s shows what each reading took.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import psutil
import pytest

from backbeat.compose.local.stack import Stack
from backbeat.streams.kafka.registration import add_client
from tests.gateway.api.door import Answer, Door, User
from tests.waiting import until

NODES = int(os.environ.get("BACKBEAT_TEST_NODES", "3000"))
SIGNALS = 10
#: A group and what is below it.
GROUP = 250
PATH_SECONDS_MAX = 300.0

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600 + NODES / 10)]


class Large(NamedTuple):
    """A workflow of many nodes: signals, groups below them, and leaves below these."""

    door: Door
    path: str
    #: ids in the order of the tree, with each one's parent
    parents: dict[str, str | None]
    #: ids in the order in which they were made
    made: list[str]
    measure: Callable[[str], Answer]

    def get(self, suffix: str) -> Answer:
        answer = self.measure(f"{self.path}/{suffix}")
        assert answer.status == 200, answer.text[:500]
        return answer

    def pages(self, suffix: str, limit: int) -> Iterator[Any]:
        """All pages, each at most as large as it may be."""
        mark = "&" if "?" in suffix else "?"
        after = ""
        while True:
            answer = self.get(f"{suffix}{mark}limit={limit}{after}")
            assert answer.json or not after, "an empty page that was announced"
            yield answer.json
            if "x-backbeat-next" not in answer.headers:
                return
            after = f"&after={answer.headers['x-backbeat-next']}"


@pytest.fixture(scope="module")
def large(stack: Stack) -> Large:
    client = add_client(stack.bootstrap_servers, f"large-{time.time_ns()}", partitions=1)
    user = User(Door(stack.http_urls[0], client.id), client, "")
    workflow = user.workflow(name="large")
    began = time.monotonic()
    tree: dict[str, dict[str, list[str]]] = {
        user.signal(workflow, f"signal {number}")["id"]: {} for number in range(SIGNALS)
    }
    made = list(tree)
    # Breadth first: the order in which they are made is another than that of the tree.
    below = NODES // SIGNALS - 1
    for signal, groups in tree.items():
        ids = user.decide(signal, *({"name": f"group {number}"} for number in range(-(-below // GROUP))))
        groups.update((group, []) for group in ids)
        made += ids
    for groups in tree.values():
        left = below - len(groups)
        for group in groups:
            leaves = user.decide(group, *(leaf(number) for number in range(min(left, GROUP - 1))))
            left -= len(leaves)
            made += leaves
            groups[group] = leaves
    parents: dict[str, str | None] = {}
    for signal, groups in tree.items():
        parents[signal] = None
        for group, leaves in groups.items():
            parents |= {group: signal, **dict.fromkeys(leaves, group)}
    print(f"\n{len(made):,} nodes were made in {time.monotonic() - began:.1f} s; {memory(stack)}")
    return Large(user.door, f"/workflows/{workflow['id']}", parents, made, measured(stack, user.door))


def leaf(number: int) -> dict[str, Any]:
    return {
        "name": f"leaf {number}",
        "mode": "non_blocking",
        "client_data": {"name": f"leaf {number}", "params": [number, "some text that a client would send"]},
    }


def memory(stack: Stack) -> str:
    """Resident memory of engine and gateway."""
    pids = {"engine": stack.engine_pids[0], "gateway": stack.gateway_pids[0]}
    return ", ".join(f"{name} {psutil.Process(pid).memory_info().rss / 1e6:.0f} MB" for name, pid in pids.items())


def measured(stack: Stack, door: Door) -> Callable[[str], Answer]:
    def get(path: str) -> Answer:
        began = time.monotonic()
        answer = door.call("GET", path, seconds=PATH_SECONDS_MAX)
        seconds = time.monotonic() - began
        call = path.split("/", 3)[-1]
        print(f"{call[:70]}: {len(answer.text) / 1e6:.1f} MB in {seconds:.3f} s; {memory(stack)}")
        return answer

    return get


def walk(tree: dict[str, Any], parent: str | None = None) -> Iterator[tuple[str, str | None]]:
    """Ids and what they hang from, parents first."""
    for node in tree["children"]:
        yield node["id"], parent
        yield from walk(node, node["id"])


def ids(nodes: list[dict[str, Any]]) -> list[str]:
    return [node["id"] for node in nodes]


def test_all_of_it_at_once(large):
    assert len(large.made) == NODES
    assert list(walk(large.get("tree").json)) == list(large.parents.items())
    nodes = large.get("nodes").json
    assert ids(nodes) == large.made
    assert {node["id"]: node["parentId"] for node in nodes} == large.parents
    assert ids(large.get("children").json) == large.made[:SIGNALS]
    lines = large.get("tree/print").json["print"].split("\n")[1:]
    assert [line[:36] for line in lines[1:]] == list(large.parents)


def test_many_want_all_of_it_at_once(large):
    """Few large answers are made at a time: the others wait for their turn, and every turn ends."""
    with ThreadPoolExecutor(10) as callers:
        answers = list(callers.map(lambda _: large.door.get(f"{large.path}/nodes").text, range(10)))
    assert set(answers) == {large.get("nodes").text}


@pytest.mark.parametrize("limit", [min(NODES // 3, 10_000), min(NODES // 7, 9_999)])
def test_pages_of_nodes(large, limit):
    pages = list(large.pages("nodes", limit))
    assert max(map(len, pages)) <= limit
    assert ids(list(itertools.chain.from_iterable(pages))) == list(large.parents)


@pytest.mark.parametrize("limit", [min(NODES // 3, 10_000), min(NODES // 7, 9_999)])
def test_pages_of_a_tree(large, limit):
    pages = [list(walk(page)) for page in large.pages("tree", limit)]
    assert max(map(len, pages)) <= limit
    assert [node for page in pages for node, _ in page] == list(large.parents)
    for page in pages:
        here = {node for node, _ in page}
        for node, parent in page:
            # What hangs from something on an earlier page stands at the top.
            assert parent == (large.parents[node] if large.parents[node] in here else None)


@pytest.mark.parametrize("limit", [1, 3, SIGNALS, SIGNALS + 1])
def test_pages_of_children(large, limit):
    pages = list(large.pages("children", limit))
    assert max(map(len, pages)) <= limit
    assert ids(list(itertools.chain.from_iterable(pages))) == large.made[:SIGNALS]


def test_what_comes_behind_a_node(large):
    order = list(large.parents)
    middle = order[NODES // 2]
    assert ids(large.get(f"nodes?after={middle}").json) == order[NODES // 2 + 1 :]
    assert [node for node, _ in walk(large.get(f"tree?after={middle}").json)] == order[NODES // 2 + 1 :]
    assert large.get(f"nodes?after={order[-1]}").json == []
    assert large.get(f"nodes?limit=5&after={order[-1]}").json == []


def test_pages_of_what_is_filtered(large):
    """A page is as full as it can be, however many nodes are passed over."""
    first = large.made[0]
    until(lambda: large.door.get(f"/activities/{first}").json["currentServerStatus"] == "sent_to_client", "it is sent")
    (page,) = large.pages("nodes?currentServerStatus=errored", 1)
    assert page == []
    nodes = list(itertools.chain.from_iterable(large.pages("nodes?currentClientStatus=ready", 4)))
    assert ids(nodes) == large.made[1:SIGNALS]
    both = "nodes?currentServerStatus=sent_to_client&currentClientStatus=received"
    assert [ids(page) for page in large.pages(both, 2)] == [[first]]


def test_nodes_that_are_added_between_pages(large):
    """What was there before is on one page exactly, whatever comes in between."""
    limit = min(NODES // 3, 10_000)
    pages = large.pages("nodes", limit)
    node_ids = ids(next(pages))
    added = large.door.post(f"/activities/{large.made[SIGNALS]}/decisions", {"decisions": [{"name": "late"}]})
    assert added.status == 201
    last = large.door.post(f"{large.path}/signal", {"name": "last"}).json["id"]
    node_ids += [node for page in pages for node in ids(page)]
    assert node_ids == [*large.parents, last]
