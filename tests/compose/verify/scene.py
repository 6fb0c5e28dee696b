"""A story with something of everything: trees, errors, timers, links, pauses, limits, schedules, retention, slices.

It says the same commands whatever comes of them, so that a core with a defect plays it, too.
"""

from __future__ import annotations

from typing import Any

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.jobs import JobFilter
from backbeat.schemas.messages.limits import LimitValues
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.schedules import NewSchedule, Overlap
from backbeat.schemas.messages.status import Mode
from backbeat.schemas.messages.values import Awaits, Backoff, FollowUp, FollowUpKind, Take, TimerKind
from backbeat.streams.core.tables import SCHEDULES
from tests.compose.verify.log import LoggedWorld
from tests.streams.core.world import USER, reply_to

SETTINGS = Settings(slice_nodes_max=5, default_timeout_seconds=60.0, depth_max=4, answer_retention_seconds=600.0)


class Scene:
    """The world, and whoever speaks in it."""

    def __init__(self) -> None:
        self.world = LoggedWorld(2, SETTINGS)

    def say(self, kind: type, **given: Any) -> bytes:
        """A command, and all that it sends on; its id."""
        self.world.now += 7
        command = kind(**{"id": self.world.new_id(), "user_id": USER, "tid": "scene", **given})
        self.world.do(command)
        return command.id

    def signal(self, subject: str, name: str, *, workflow: str = "order", **given: Any) -> bytes:
        """A signal; the id of its node."""
        node = c.NewNode(**{"name": name, "user_id": USER, "type": "decision", **given.pop("node", {})})
        text = f'"{subject}"'.encode()
        new = c.NewWorkflow(user_id=USER, name=workflow, subject=text, decider="D")
        workflow_id = ids.workflow_id(USER, workflow, text)
        identity = self.say(c.Signal, workflow_id=workflow_id, workflow=new, node=node, **given)
        return ids.node_id(workflow_id, identity, 0)

    def job(self, action: str, job_filter: JobFilter, *, hold: bool = False, **given: Any) -> bytes:
        """A job in every partition; its id. `hold`: what it sends itself stays under way."""
        identity = self.world.new_id()
        for partition in range(len(self.world.stores)):
            command = c.StartJob(
                id=identity, user_id=USER, partition=partition, action=action, filter=job_filter, **given
            )
            self.world.send(command)
            if not hold:
                self.world.drain()
        return identity

    def workflow_id(self, node_id: bytes) -> bytes:
        """The workflow of a node; the node itself, where a defect has lost it."""
        node = self.world.nodes().get(node_id)
        return node_id if node is None else node.workflow_id

    def answer(self, node_id: bytes, status: str = "completed", *names: str, **given: Any) -> list[bytes]:
        """A client's word, with children of these names; their ids."""
        mode = given.pop("mode", Mode.BLOCKING)
        more = given.pop("node", {})
        children = tuple(c.NewNode(**{"name": name, "user_id": USER, "mode": mode, **more}) for name in names)
        workflow = self.workflow_id(node_id)
        identity = self.say(c.ChangeNode, node_id=node_id, status=status, children=children, **given)
        return [ids.node_id(workflow, identity, index) for index in range(len(children))]

    def pass_time(self, milliseconds: int) -> None:
        """The timers that are due by then fire, in order; schedules at each minute."""
        world = self.world
        end = world.now + milliseconds
        for _ in range(200):
            due = min(
                ((at, subject, kind, number) for (subject, kind), (at, number) in world.timers().items()), default=None
            )
            if due is None or due[0] > end:
                break
            world.now = max(world.now, due[0])
            if due[2] == "schedule":
                self._schedule_due(due[1], due[3])
            else:
                world.do(world.timer_fired(due[1], TimerKind[due[2].upper()], due[3]))
        world.now = max(world.now, end)

    def _schedule_due(self, schedule_id: bytes, number: int) -> None:
        schedule = self.world.store_of(schedule_id)[SCHEDULES][schedule_id]
        minute = 60_000
        first = schedule.after // minute * minute + minute
        times = tuple(range(first, self.world.now + 1, minute))
        next_at = (times[-1] if times else first - minute) + minute
        due = c.ScheduleDue(
            id=self.world.new_id(), schedule_id=schedule_id, number=number, times=times, next_at=next_at
        )
        self.world.do(due)


def trees(scene: Scene) -> None:
    """Children of every mode, more than a slice; errors, retries, expiry; cancel, reset, shutdown, deactivation."""
    top = scene.signal("trees", "first")
    scene.signal("trees", "second")
    first, second = scene.answer(top, "completed", "one", "two")
    leaves = tuple(c.NewNode(name=f"leaf {n}", user_id=USER, mode=Mode.NON_BLOCKING) for n in range(2))
    scene.say(c.AddChildren, node_id=first, children=leaves)
    wide = scene.answer(
        first, "completed", *(f"wide {n}" for n in range(12)), mode=Mode.NON_BLOCKING, response=b'{"r":1}'
    )
    for node in wide[:6]:
        scene.answer(node, attempt=1)
    scene.answer(wide[0], attempt=1)  # late: it changes nothing
    scene.answer(wide[6], "errored", response=b'{"error":"broke"}', attempt=1)
    scene.answer(wide[7], "processing", attempt=1)
    scene.say(c.Heartbeat, node_id=wide[8], attempt=1)
    scene.answer(wide[9], "errored", retriable=False)
    scene.answer(wide[9], "resolved", response=b"[1]")
    scene.say(c.RestartNode, node_id=wide[6])
    scene.answer(wide[6], attempt=1)  # of an attempt that is over
    scene.answer(wide[10], "canceled")
    scene.pass_time(61_000)
    deep = scene.answer(wide[7], "completed", "deep", "deeper", node={"retries": 0, "retry_interval_seconds": 1.0})
    for node in deep:
        scene.answer(node, "errored", response=b'{"error":{"message":"again"}}')
    scene.answer(deep[0], "shutdown")
    scene.say(c.ResetNode, node_id=first)
    scene.answer(second, "deactivated")
    scene.say(c.ResetNode, node_id=top)
    scene.say(c.ScheduleNode, node_id=top)
    scene.pass_time(5_000_000)


def errors(scene: Scene) -> None:
    """Retries until they are exhausted, a flag, a date, a node that is too deep, an unknown word."""
    top = scene.signal("errors", "top", node={"retries": 2, "retry_interval_seconds": 3.0})
    for attempt in (1, 2, 3):
        scene.answer(top, "errored", response=b'{"error":{"message":"no"}}', attempt=attempt)
        scene.pass_time(60_000)
    steps = {"retries": 8, "retry_interval_seconds": 3.0, "backoff": Backoff(1.5, 20.0, 0.3)}
    growing = scene.signal("growing", "growing", node=steps)
    for _ in range(5):
        scene.answer(growing, "errored", response=b'{"error":{"message":"no"}}')
        scene.pass_time(60_000)
    scene.answer(growing, "errored", retry_after_seconds=-1.0)  # refused
    scene.answer(top, "nonsense")
    scene.say(c.RestartNode, node_id=top)
    later = scene.world.now + 90_000
    (child, flag, dated) = scene.answer(top, "completed", "child", "flag", "dated", mode=Mode.FIRE_AND_FORGET)
    del flag, dated
    grandchild, waits = scene.answer(child, "completed", "grandchild", "waits", node={"fires_at": later})
    (below,) = scene.answer(grandchild, "completed", "below")
    scene.pass_time(100_000)
    (below,) = scene.answer(grandchild, "completed", "below", node={"type": "flag"})
    (fourth,) = scene.answer(waits, "completed", "fourth")
    scene.answer(fourth, "completed", "too deep", attempt=1)
    scene.say(c.AddChildren, node_id=below, children=(c.NewNode(name="too late", user_id=USER),))
    unknown = scene.signal("unknown", "unknown", node={"retries": 0})
    for _ in range(3):
        scene.answer(unknown, "errored", attempted=False)
        scene.pass_time(5_000)
    scene.answer(unknown, "errored", attempted=False)
    late = scene.signal("late", "late", node=steps)
    for node, wait in ((growing, None), (late, 1.5)):
        scene.answer(node, "errored", retry_after_seconds=wait)


def takes(scene: Scene) -> None:
    """Results of nodes, of groups and of nothing; a default, a returned child, takers that are refused."""
    top = scene.signal("takes", "top")

    def add(parent: bytes, *children: c.NewNode) -> list[bytes]:
        workflow = scene.workflow_id(parent)
        identity = scene.say(c.AddChildren, node_id=parent, children=children)
        return [ids.node_id(workflow, identity, index) for index in range(len(children))]

    def node(name: str, *taken: Take, **given: Any) -> c.NewNode:
        return c.NewNode(**{"name": name, "user_id": USER, "mode": Mode.NON_BLOCKING, "takes": taken, **given})

    group, price, lost = add(top, node("group", type="flag"), node("price", retries=0), node("lost"))
    pages = add(group, *(node(f"page {n}") for n in range(9)))
    takers = add(
        top,
        node("charge", Take(price), Take(price, default=b"1")),
        node("publish", Take(group, of_children=True), Take(price)),
        node("default", Take(lost, default=b"0")),
        node("gone", Take(lost)),
        *(node(f"each {n}", Take(price)) for n in range(7)),
    )
    _, last = add(top, node("of gone", Take(takers[3])), node("of publish", Take(takers[1]), mode=Mode.BLOCKING))
    scene.say(c.ChangeNode, node_id=top, status="completed", returns=takers[0])
    add(price, node("too early", Take(takers[0])))
    add(takers[0], node("of its parent", Take(takers[0])))
    scene.answer(price, "errored")
    for page in pages:
        scene.answer(page, "completed", response=b'{"result":1}')
    scene.answer(price, "resolved", response=b'{"result":703}')
    scene.answer(lost, "canceled")
    scene.answer(takers[1], "errored", response=b'{"error":"again"}', retriable=False)
    scene.say(c.RestartNode, node_id=takers[1])
    for taker in (*takers[:3], *takers[4:], last):
        scene.answer(taker, "completed", response=b'{"result":2}')
    second = scene.signal("takes", "second", node={"takes": (Take(takers[1]), Take(group, of_children=True))})
    late = add(second, node("late", Take(takers[3], default=b"9")), node("without", Take(takers[3])))
    scene.answer(second, "completed", "last", response=b'{"result":3}', node={"takes": (Take(late[0]),)})
    scene.answer(late[0])
    third = scene.signal("takes", "third")
    (lost,) = add(third, node("lost, and returned"))
    scene.say(c.ChangeNode, node_id=third, status="completed", returns=lost)
    scene.signal("takes", "fourth", node={"takes": (Take(third, default=b"0"),)})
    scene.answer(lost, "canceled")
    fifth = scene.signal("takes", "fifth")
    add(fifth, node("of an attempt that fails"))
    scene.answer(fifth, "errored")
    scene.pass_time(3_000_000)
    (page,) = scene.answer(fifth, "completed", "page")
    scene.signal("takes", "sixth", node={"takes": (Take(fifth, of_children=True),)})
    scene.answer(page)
    scene.say(c.ResetNode, node_id=fifth)


def allowances(scene: Scene) -> None:
    """Groups of which some may fail: fewer do, as many, and more."""
    for allowed in range(4):
        top = scene.signal(f"allowances {allowed}", "top")
        workflow = scene.workflow_id(top)

        def add(parent: bytes, *children: c.NewNode, workflow: bytes = workflow) -> list[bytes]:
            identity = scene.say(c.AddChildren, node_id=parent, children=children)
            return [ids.node_id(workflow, identity, index) for index in range(len(children))]

        def node(name: str, **given: Any) -> c.NewNode:
            return c.NewNode(**{"name": name, "user_id": USER, "mode": Mode.NON_BLOCKING, **given})

        (group,) = add(top, node("group", type="flag", failures_allowed=allowed))
        pages = add(group, *(node(f"page {n}") for n in range(5)), node("forgotten", mode=Mode.FIRE_AND_FORGET))
        (part,) = add(pages[1], node("part"))
        add(top, node("publish", takes=(Take(group, of_children=True),)))
        scene.say(c.ChangeNode, node_id=top, status="completed")
        for page in (pages[1], pages[4], pages[5]):
            scene.answer(page, "errored", response=b'{"error":{"message":"it broke"}}', retriable=False)
        for page in (pages[0], pages[2], pages[3], part):
            scene.answer(page, response=b'{"result":1}')
        if allowed == 1:
            scene.say(c.RestartNode, node_id=pages[4])
            scene.answer(pages[4], response=b'{"result":4}')


def messages(scene: Scene) -> None:
    """Nodes that wait for messages, messages that come first, or never; signals beside the others."""
    top = scene.signal("messages", "top")
    workflow_id = scene.workflow_id(top)

    def send(name: str, payload: bytes = b'{"by":"Grace"}', **given: Any) -> None:
        scene.say(c.SendMessage, workflow_id=workflow_id, name=name, payload=payload, **given)

    def wait(name: str, default: bytes | None = None, **given: Any) -> c.NewNode:
        return c.NewNode(
            **{"name": name, "user_id": USER, "mode": Mode.NON_BLOCKING, "awaits": Awaits(default), **given}
        )

    send("approval", b"1")
    send("other", b"2")
    short = {"client_data": b'{"timeout":30}'}
    steps = [wait("approval"), *(wait("approval", **short) for _ in range(9)), wait("never", b"0", **short)]
    identity = scene.say(c.ChangeNode, node_id=top, status="completed", children=tuple(steps))
    nodes = [ids.node_id(workflow_id, identity, index) for index in range(len(steps))]
    once = scene.world.new_id()
    for _ in range(2):
        send("approval", b"3", id=once)
        send("approval", b"4", id=ids.command_id(b"once", once), body_hash=b"body")
    send("approval", b"not JSON")
    scene.answer(nodes[5], "canceled")
    scene.answer(nodes[6], "processing")
    scene.answer(nodes[7], "completed", response=b"5")
    scene.signal("messages", "queued")
    beside = scene.signal("messages", "beside", beside=True, node={"retries": 1, "retry_interval_seconds": 1.0})
    scene.answer(beside, "errored", attempt=1)
    scene.pass_time(40_000)
    scene.say(c.RestartNode, node_id=nodes[8])
    scene.signal("messages", "linked", beside=True, node={"parent_link_id": nodes[8]})
    send("approval", b"6")
    scene.answer(beside)
    scene.answer(nodes[9], "shutdown")
    scene.answer(nodes[3], "resolved")
    wide = scene.signal("messages", "wide", beside=True)
    scene.say(c.ChangeNode, node_id=wide, status="completed", children=tuple(wait("wide") for _ in range(12)))
    for command in (c.ResetNode(id=scene.world.new_id(), user_id=USER, node_id=wide),):
        scene.world.send(command)  # the nodes are marked, and most of them not reached yet
    send("wide", b"7")
    scene.say(c.ChangeWorkflow, workflow_id=workflow_id, change="complete")
    send("approval", b"8")


def follow_ups(scene: Scene) -> None:
    """Failures that are handled, given up and left alone; undos; cancels, with and without undos."""

    def node(name: str, *kinds: str, **given: Any) -> c.NewNode:
        rows = tuple(FollowUp(FollowUpKind(kind), kind, USER, retries=0) for kind in kinds)
        return c.NewNode(**{"name": name, "user_id": USER, "retries": 0, "follow_ups": rows, **given})

    def add(parent: bytes, *children: c.NewNode) -> list[bytes]:
        workflow = scene.workflow_id(parent)
        identity = scene.say(c.AddChildren, node_id=parent, children=children)
        return [ids.node_id(workflow, identity, index) for index in range(len(children))]

    def named(name: str) -> bytes:
        rows = [row for row in scene.world.nodes().values() if row.name == name]
        # An engine with a defect may have none.
        return max(rows, key=lambda row: row.seq).id if rows else top

    top = scene.signal("follow-ups", "top", node={"follow_ups": (FollowUp(FollowUpKind.CANCEL, "clean", USER),)})
    steps = add(
        top,
        node("a", "undo"),
        node("group", type="flag"),
        node("b", "undo", mode=Mode.NON_BLOCKING),
        node("charge", "failure", "cancel"),
        node("never", "undo"),
    )
    (member,) = add(steps[1], node("member", "undo", "failure"))
    scene.answer(top)
    scene.answer(steps[0], response=b'{"result":1}')
    scene.answer(member, "errored", response=b'{"error":{"message":"m"}}')
    scene.answer(named("failure"), response=b'{"result":2}')
    scene.answer(steps[3], "errored", response=b'{"error":"text"}')
    scene.say(c.RestartNode, node_id=steps[3])
    scene.answer(steps[3], "errored")
    scene.answer(named("failure"), gives_up=True)
    scene.answer(steps[2])
    scene.answer(named("undo"))
    scene.say(c.ChangeNode, node_id=top, status="canceled", compensate=True)
    undos = [row for row in scene.world.nodes().values() if row.name == "undo"]
    for row in sorted(undos, key=lambda row: -row.seq):
        scene.answer(row.id)
    second = scene.signal("follow-ups", "second")
    handler, other = add(second, node("x", "cancel", mode=Mode.NON_BLOCKING), node("y", "failure", "cancel"))
    scene.answer(second)
    scene.answer(handler, gives_up=True)
    scene.answer(other, "errored")
    scene.say(c.ChangeNode, node_id=other, status="resolved")
    scene.say(c.ChangeNode, node_id=second, status="canceled")
    scene.answer(named("cancel"))


def links(scene: Scene) -> None:
    """A node that waits for a signal of another workflow, one that waits for a sibling, and a cycle."""
    buyer = scene.signal("buyer", "buy")
    seller = scene.signal("seller", "sell", node={"parent_link_id": buyer})
    scene.answer(buyer)
    scene.signal("buyer", "cycle", node={"parent_link_id": seller})
    first, second = scene.answer(seller, "completed", "first", "second", mode=Mode.NON_BLOCKING)
    (inner,) = scene.answer(first, "completed", "inner", node={"parent_link_id": second})
    scene.answer(second)
    scene.answer(inner)
    scene.signal("buyer", "after", reply_to=reply_to(1))
    for command in list(scene.world.delivered):
        scene.world.repeat(command)  # as after a crash


def pauses(scene: Scene) -> None:
    """A paused workflow, signals that coalesce, keys of a caller, a closed workflow."""
    top = scene.signal("pauses", "top")
    workflow_id = scene.workflow_id(top)
    scene.say(c.ChangeWorkflow, workflow_id=workflow_id, change="pause")
    scene.answer(top, "completed", "a", "b", "c", mode=Mode.NON_BLOCKING)
    scene.say(c.ChangeWorkflow, workflow_id=workflow_id, change="resume")
    for name in ("old", "new"):
        scene.signal("pauses", name, coalesce_key="k")
    dropped = scene.signal("pauses", "dropped", coalesce_key="k", coalesce=c.Coalesce.DROP)
    del dropped
    # Of one that is dropped the timeout is not looked at; of one that would take the other's place it is.
    for coalesce in (c.Coalesce.DROP, c.Coalesce.REPLACE):
        wrong = {"client_data": b'{"timeout":true}'}
        scene.signal("pauses", "no timeout", coalesce_key="k", coalesce=coalesce, node=wrong)
    keyed = c.CreateWorkflow(
        id=b"k" * 16,
        user_id=USER,
        reply_to=reply_to(2),
        body_hash=b"body",
        workflow=c.NewWorkflow(user_id=USER, name="keyed", subject=b"1", decider="D"),
    )
    for _ in range(2):
        scene.world.do(keyed)
    scene.say(c.ChangeWorkflow, workflow_id=workflow_id, change="complete")
    scene.signal("pauses", "too late")


def limits(scene: Scene) -> None:
    """Slots: two at once, by priority, by turns; a rate; a limit that is lifted."""
    scene.say(c.ChangeLimit, client_id=USER, activity="charge", values=LimitValues(concurrency=2))
    top = scene.signal("limits", "top")
    charges = [
        c.NewNode(name="charge", user_id=USER, mode=Mode.NON_BLOCKING, priority=1 + n % 3, fairness_key=f"f{n % 2}")
        for n in range(6)
    ]
    identity = scene.say(c.ChangeNode, node_id=top, status="completed", children=tuple(charges))
    nodes = [ids.node_id(scene.workflow_id(top), identity, index) for index in range(6)]
    scene.answer(nodes[4], "canceled")
    for node in (*nodes, *nodes):
        scene.answer(node, attempt=1)
    scene.say(
        c.ChangeLimit, client_id=USER, activity="mail", values=LimitValues(rate_count=1, rate_period_seconds=10.0)
    )
    top = scene.signal("limits", "mails")
    scene.answer(top, "completed", "mail", "mail", "mail", mode=Mode.NON_BLOCKING)
    scene.pass_time(15_000)
    scene.say(c.ChangeLimit, client_id=USER, activity="mail", values=LimitValues())
    scene.pass_time(30_000)


def schedules(scene: Scene) -> None:
    """A schedule whose runs overlap, are skipped, queued and canceled."""
    schedule_id = ids.schedule_id(USER, "nightly")
    plan = {
        "user_id": USER,
        "name": "nightly",
        "cron": "* * * * *",
        "workflow": c.NewWorkflow(user_id=USER, name="report", subject=b'"{scheduled_at}"', decider="D"),
        "node": c.NewNode(name="run", user_id=USER, type="decision"),
    }
    scene.say(c.PutSchedule, schedule_id=schedule_id, schedule=NewSchedule(**plan))
    scene.pass_time(150_000)
    scene.say(c.RunSchedule, schedule_id=schedule_id, overlap=Overlap.QUEUE)
    scene.say(c.RunSchedule, schedule_id=schedule_id, overlap=Overlap.ALLOW)
    for node in list(scene.world.nodes().values()):
        if node.name == "run":
            scene.answer(node.id)
    scene.say(c.ChangeSchedule, schedule_id=schedule_id, change="pause", note="enough")


def jobs(scene: Scene) -> None:
    """One change for all that match: a count, a retry of many, a cancel of more than a slice, one that is stopped."""
    tops = [scene.signal(f"jobs {n}", "job top", node={"retries": 0}) for n in range(8)]
    for top in tops[:5]:
        scene.answer(top, "errored", response=b'{"error":{"message":"out of paper"}}')
    wide = scene.answer(tops[5], "completed", *(f"leaf {n}" for n in range(9)), mode=Mode.NON_BLOCKING)
    for dry_run in (True, False):
        scene.job("retry", JobFilter(error="out of paper"), dry_run=dry_run)
    scene.answer(tops[0], "errored")
    scene.job("resolve", JobFilter(past_status="retrying"), response=b'{"by":"hand"}')
    scene.job("resolve", JobFilter(name="job top", subject="jobs"))
    scene.job("pause", JobFilter(workflow_name="order"))
    scene.job("resume", JobFilter())
    scene.answer(wide[0])
    scene.job("cancel", JobFilter(current_status="processing_children"))
    scene.job("cancel", JobFilter(current_status="nonsense"))
    job_id = scene.job("shutdown", JobFilter(), hold=True)
    for partition in range(len(scene.world.stores)):
        scene.say(c.StopJob, job_id=job_id, partition=partition)
    scene.pass_time(8 * 86_400_000)


def retention(scene: Scene) -> None:
    """A policy: finished workflows are removed, a late repeat of their signal makes nothing."""
    policy = RetentionPolicy(owner_id=USER, name="short", keep_seconds=10.0, archive=False, refuse_seconds=100.0)
    for number in range(len(scene.world.stores)):
        command = c.ChangeRetention(id=scene.world.new_id(), policy=policy)
        scene.world._apply(number, command, scene.world.drain())
    scene.world.drain()
    for subject in ("kept", "gone"):
        node = scene.signal(subject, "once", workflow="short")
        if subject == "gone":
            children = scene.answer(node, "completed", *(f"child {n}" for n in range(4)), mode=Mode.NON_BLOCKING)
            for child in children:
                scene.answer(child)
    scene.pass_time(12_000)


def settings(scene: Scene) -> None:
    """Settings of every partition."""
    changed = Settings(default_timeout_seconds=5.0)
    for number in range(len(scene.world.stores)):
        command = c.ChangeSettings(id=scene.world.new_id(), settings=changed, names=("default_timeout_seconds",))
        scene.world._apply(number, command, scene.world.drain())
    scene.signal("settings", "short")
    scene.pass_time(6_000)


ACTS = (
    trees,
    errors,
    takes,
    allowances,
    messages,
    follow_ups,
    links,
    pauses,
    limits,
    schedules,
    jobs,
    retention,
    settings,
)


def played(*acts: Any) -> Scene:
    """A scene in which these acts were played."""
    scene = Scene()
    for act in acts:
        act(scene)
    return scene
