"""Jobs: one change for all that match, in slices, each node once."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.jobs import KEPT_MAX, RETENTION_MS, Job, JobFilter, JobState
from backbeat.schemas.messages.queries import GetJobs
from backbeat.schemas.messages.replies import Reason, Rejection
from backbeat.schemas.messages.status import word
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core import effects as e
from backbeat.streams.core import queries
from backbeat.streams.core.step import Refused
from backbeat.streams.core.tables import JOBS, NODES, WORKFLOWS
from backbeat.streams.input.validate import check_command
from tests.streams.core.player import Move, Player
from tests.streams.core.rig import CAMERA_ID, NON_BLOCKING, Rig, id_of, new, workflow
from tests.streams.core.storing import put
from tests.streams.core.test_properties import MOVES, NUMBERS
from tests.streams.core.test_retention import DAY_MS, Kept
from tests.streams.core.test_slices import Quick
from tests.streams.core.test_slots import Bank
from tests.streams.core.world import OTHER, USER, Happened, World, reply_to

JOB = b"j" * 16
#: A job's slice is a quarter of it.
SMALL = [1, 8, 12, 1_000]


def start(rig: World, action: str = "retry", job_id: bytes = JOB, user: bytes | None = USER, **given) -> Happened:
    """Ask every partition; what the job then does stays under way."""
    how = {name: given.pop(name) for name in ("dry_run", "response") if name in given}
    happened = Happened()
    for partition in range(len(rig.stores)):
        command = c.StartJob(
            id=job_id,
            user_id=user,
            tid="tid",
            reply_to=reply_to(),
            partition=partition,
            action=action,
            filter=JobFilter(**given),
            **how,
        )
        happened.effects += rig.send(command).effects
    return happened


def run(rig: World, action: str = "retry", job_id: bytes = JOB, **given) -> Job:
    """Start it and let it come to its end; the partitions' records, added up."""
    refusals = [reply for reply in start(rig, action, job_id, **given).replies if isinstance(reply, Rejection)]
    assert not refusals, refusals
    rig.drain()
    return total(rig, job_id)


def total(rig: World, job_id: bytes = JOB) -> Job:
    jobs = [store.get(JOBS, job_id) for store in rig.stores]
    first = jobs[0]
    fields = ("examined", "matched", "done", "refused", "matches", "refusals")
    counts = {name: sum((getattr(job, name) for job in jobs[1:]), getattr(first, name)) for name in fields}
    assert len({job.state for job in jobs}) == 1
    return msgspec.structs.replace(first, **counts)


def shop(partitions: int = 1, slice_nodes_max: int = 250, workflows: int = 12, **given) -> Rig:
    """Workflows with a node out of retries and one at work each; every third is another user's to run."""
    rig = Quick(partitions, settings=Settings(slice_nodes_max=slice_nodes_max), **given)
    for number in range(workflows):
        of = workflow(f'{{"order":{number}}}'.encode())
        rig.signal(f"s{number}", of=of)
        user = OTHER if number % 3 == 2 else USER
        failing = new(f"charge{number}", NON_BLOCKING, retries=0, user_id=user, metadata=b'{"shop":"Oslo"}')
        rig.complete(f"s{number}", failing, new(f"mail{number}", NON_BLOCKING))
        rig.say("errored", f"charge{number}", user_id=user, response=b'{"error":{"message":"refused: no \\u00e4"}}')
    rig.check()
    return rig


def exhausted(rig: Rig) -> set[str]:
    return {node.name for node in rig.nodes().values() if rig.statuses(node.id)[0] == "retries_exhausted"}


# --- what it does ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slice_nodes_max", SMALL)
@pytest.mark.parametrize(
    ("action", "single"),
    [
        ("retry", lambda node_id: (c.RestartNode, {"node_id": node_id})),
        ("resolve", lambda node_id: (c.ChangeNode, {"node_id": node_id, "status": "resolved", "response": b'"ok"'})),
        ("shutdown", lambda node_id: (c.ChangeNode, {"node_id": node_id, "status": "shutdown", "response": b'"ok"'})),
        ("cancel", lambda node_id: (c.ChangeNode, {"node_id": node_id, "status": "canceled"})),
    ],
)
def test_a_job_does_what_the_single_commands_do(action, single, slice_nodes_max):
    given = {"response": b'"ok"'} if action in ("resolve", "shutdown") else {}
    mass, one_by_one = shop(3, slice_nodes_max), shop(3, slice_nodes_max)
    happened = start(mass, action, user=None, current_status="retries_exhausted", **given)
    mass.drain(happened)
    expected = Happened()
    for node_id in sorted(node.id for node in one_by_one.nodes().values() if node.name.startswith("charge")):
        kind, about = single(node_id)
        expected.effects += one_by_one.do(kind(id=ids.command_id(b"job", JOB, node_id), tid="tid", **about)).effects
    assert (total(mass).matched, total(mass).done, total(mass).refused) == (12, 12, 0)
    for store in mass.stores:
        put(store, JOBS, JOB, None)
        store.timers = {key: number for key, number in store.timers.items() if key[2] != TimerKind.JOB}
    assert mass.snapshot() == one_by_one.snapshot()
    assert happened.dispatches == expected.dispatches
    changes = sorted(change for effect in happened.of(e.StatusChanged) for change in map(repr, effect.changes))
    assert changes == sorted(change for effect in expected.of(e.StatusChanged) for change in map(repr, effect.changes))


def test_a_slice_is_bounded_and_one_command_of_a_job_is_in_the_log():
    rig = shop(1, slice_nodes_max=8)
    happened = start(rig)
    seen = []
    while sum(map(len, rig.under_way.values())):
        (waiting,) = [command for queue in rig.under_way.values() for command in queue]
        assert isinstance(waiting, c.WorkJob)
        before = len(happened.effects)
        rig.deliver(happened)
        seen.append(len([effect for effect in happened.effects[before:] if isinstance(effect, e.Dispatch)]))
    assert sum(seen) == 8
    assert max(seen) == 2
    rig.check()


def test_what_a_change_leaves_to_be_done_is_done_before_the_next():
    rig = Quick(settings=Settings(slice_nodes_max=3))
    for number in range(3):
        rig.signal(f"s{number}", of=workflow(b"%d" % number), retries=0)
        rig.complete(f"s{number}", *(new(f"c{number}.{child}", NON_BLOCKING) for child in range(10)))
    start(rig, "cancel", current_status="processing_children")
    rig.deliver(Happened())
    states = []
    while rig.deliver(Happened()):
        states.append([sum(flow.sweeps for flow in rig.workflows().values()), total(rig).done])
        assert sum(map(len, rig.under_way.values())) <= 1
    assert {sweeps for sweeps, _ in states} == {0, 1}
    assert total(rig).done == 3
    assert {rig.statuses(node)[0] for node in rig.nodes()} == {"deactivated"}
    rig.check()


@pytest.mark.parametrize("slice_nodes_max", SMALL)
def test_what_an_earlier_change_of_the_slice_has_changed_is_seen(slice_nodes_max):
    rig = Quick(settings=Settings(slice_nodes_max=slice_nodes_max))
    for number in range(8):
        rig.signal(f"s{number}", of=workflow(b"%d" % number))
        rig.complete(f"s{number}", new(f"c{number}"))
        rig.complete(f"c{number}", new(f"g{number}"))
    # The child is canceled with its signal; or the signal completes when its child is canceled. Whichever is first.
    assert {rig[f"s{number}"] < rig[f"c{number}"] for number in range(8)} == {True, False}
    job = run(rig, "cancel", current_status="processing_children")
    assert (job.matched, job.done) == (8, 8)


def test_what_is_retried_waits_for_its_slots_as_all_others_do():
    bank = Bank(2)
    for subject in range(6):
        bank.pay(subject, retries=0)
        bank.end(subject, "errored")
    bank.limit(concurrency=2)
    assert run(bank).done == 6
    bank.check()
    for left in (6, 5, 4, 3, 2, 1):
        out = bank.out()
        assert len(out) == min(2, left)
        bank.end(out[0])
    assert bank.out() == []


@pytest.mark.parametrize("slice_nodes_max", SMALL)
def test_workflows_are_paused_and_resumed(slice_nodes_max):
    rig = shop(2, slice_nodes_max)
    assert run(rig, "pause", workflow_name="purchase").done == 12
    assert {flow.paused for flow in rig.workflows().values()} == {True}
    rig.restart("charge0")
    assert rig.server("charge0") == ["paused"]
    # A workflow that is as it shall be is not touched again.
    assert run(rig, "pause", b"2" * 16).matched == 0
    assert run(rig, "resume", b"3" * 16, subject='"order":0').done == 1
    assert rig.server("charge0") == ["sent_to_client"]
    assert sum(flow.paused is True for flow in rig.workflows().values()) == 11
    rig.check()


def test_a_dry_run_counts_and_changes_nothing():
    rig = shop(2, workflows=90)
    before = {node_id: msgspec.msgpack.encode(node) for node_id, node in rig.nodes().items()}
    happened = start(rig, dry_run=True)
    rig.drain(happened)
    job = total(rig)
    assert (job.examined, job.matched, job.done, job.refused) == (270, 60, 0, 0)
    assert all(match.name.startswith("charge") and match.workflow_name == "purchase" for match in job.matches)
    assert [len(store.get(JOBS, JOB).matches) for store in rig.stores] == [20, 20]
    assert {node_id: msgspec.msgpack.encode(node) for node_id, node in rig.nodes().items()} == before
    assert not happened.of(e.Dispatch)


def test_a_node_that_cannot_be_changed_is_told_of_and_the_others_are_changed():
    rig = shop(1)
    job = run(rig, "retry", current_status="sent_to_client")
    assert (job.matched, job.done, job.refused) == (12, 0, 12)
    first = job.refusals[0]
    assert (first.reason, first.message) == (
        "invalid_client_status",
        "Cannot transition current_client_status from received to ready",
    )
    job = run(rig, "resolve", b"2" * 16, current_status="retries_exhausted")
    assert (job.matched, job.done, job.refused) == (8, 8, 0)


def test_a_node_that_the_engine_fails_on_shows_it_and_does_not_end_the_job():
    rig = shop(1)
    broken = rig.row("charge3")
    parent = rig.stores[0][NODES].pop(broken.parent_id)
    job = run(rig)
    rig.stores[0][NODES][parent.id] = parent
    assert (job.matched, job.done, job.refused, job.state) == (8, 7, 1, JobState.DONE)
    assert [(refusal.id, refusal.reason) for refusal in job.refusals] == [(broken.id, "defect")]
    assert rig.server("charge3") == ["errored"]


def test_a_node_whose_workflow_is_gone_does_not_end_the_job():
    rig = shop(1)
    rig.stores[0][WORKFLOWS].pop(rig.row("charge3").workflow_id)
    job = run(rig)
    assert (job.state, job.matched, job.done) == (JobState.DONE, 7, 7)


@pytest.mark.parametrize("slice_nodes_max", SMALL)
def test_a_workflow_that_a_job_finishes_is_kept_as_long_as_its_policy_says(slice_nodes_max):
    kept = Kept(settings=Settings(slice_nodes_max=slice_nodes_max))
    kept.retain()
    kept.signal("signal")
    kept.complete("signal", new("failing", retries=0))
    kept.error("failing")
    assert kept.planned() == (None, None, None)
    assert run(kept, "resolve").done == 1
    assert kept.planned() == (kept.now, kept.now + DAY_MS, None)
    # Removed slice by slice, its nodes are nobody's any more.
    kept.send(kept.fired(CAMERA_ID), kept.now + DAY_MS)
    assert bool(kept.stores[0][NODES]) is (slice_nodes_max == 1)
    start(kept, "cancel", b"2" * 16, current_status="complete")
    kept.drain()
    job = total(kept, b"2" * 16)
    assert (job.state, job.matched) == (JobState.DONE, 0)
    assert kept.is_empty


def test_a_defect_in_the_rest_of_a_change_does_not_end_the_job():
    rig = Quick(settings=Settings(slice_nodes_max=3))
    for number in range(2):
        rig.signal(f"s{number}", of=workflow(b"%d" % number))
        rig.complete(f"s{number}", *(new(f"c{number}.{child}", NON_BLOCKING) for child in range(10)))
    start(rig, "cancel", current_status="processing_children")
    rig.deliver(Happened())
    (waiting,) = [command for queue in rig.under_way.values() for command in queue]
    assert waiting.tasks
    (lost,) = [task.cursor for task in waiting.tasks if task.cursor is not None]
    rig.stores[0][NODES].pop(lost)
    rig.drain()
    assert (total(rig).state, total(rig).done) == (JobState.DONE, 2)


# --- what it matches -------------------------------------------------------------------------------------------------

FILTERS = [
    ({}, 8),
    ({"name": "charge3"}, 1),
    ({"name": "charge"}, 0),
    ({"name": "charge2"}, 0),  # another user runs it
    ({"workflow_name": "purchase"}, 8),
    ({"workflow_name": "other"}, 0),
    ({"workflow_id": id_of(workflow(b'{"order":4}'))}, 1),
    ({"client_id": USER}, 8),
    ({"client_id": OTHER}, 0),
    ({"subject": '"order":1'}, 2),  # 1 and 10; 11 is another user's
    ({"subject": "nowhere"}, 0),
    ({"metadata": '"shop":"Oslo"'}, 8),
    ({"metadata": "oslo"}, 0),
    ({"error": "refused: no ä"}, 8),
    ({"error": "Refused"}, 0),
    ({"current_status": "errored"}, 8),
    ({"current_status": "complete"}, 12),  # the client's status of the signals
    ({"current_status": "paused"}, 0),
    ({"past_status": "sent_to_client"}, 8),
    ({"past_status": "processing"}, 0),
    ({"status_start": 1_000_000}, 8),
    ({"status_start": 1_000_001}, 0),
    ({"status_end": 999_999}, 0),
    ({"past_status": "errored", "status_start": 1_000_000, "status_end": 1_000_000}, 8),
    ({"created_start": 1_000_000, "created_end": 1_000_000}, 8),
    ({"created_start": 1_000_001}, 0),
    ({"created_end": 999_999}, 0),
]


@pytest.mark.parametrize(("fields", "count"), FILTERS, ids=[str(fields) for fields, _ in FILTERS])
def test_filters(fields, count):
    rig = shop(2)
    assert run(rig, "retry", dry_run=True, **fields).matched == count


def test_the_system_touches_what_is_anybodys():
    rig = shop(2)
    assert run(rig, user=None, dry_run=True).matched == 12
    assert run(rig, job_id=b"2" * 16, user=None, client_id=OTHER).done == 4
    assert {int(name.removeprefix("charge")) % 3 for name in exhausted(rig)} == {0, 1}


def test_the_history_in_older_chunks_is_looked_at():
    rig = Rig()
    rig.signal(retries=0)
    rig.error("signal", b'{"error":{"message":"the first"}}')
    for _ in range(8):
        rig.restart("signal", now=rig.now + 1)
        rig.say("errored", "signal", response=b'{"error":"' + b"x" * 300 + b'"}')
    assert rig.row("signal").history_chunks > 0
    assert run(rig, dry_run=True, past_status="errored", status_end=1_000_000).matched == 1
    assert run(rig, job_id=b"2" * 16, dry_run=True, error="the first").matched == 0
    assert run(rig, job_id=b"3" * 16, dry_run=True, error="xxx").matched == 1
    # A restart that is canceled: its last error is in an older chunk.
    rig.restart("signal")
    assert run(rig, job_id=b"4" * 16, dry_run=True, current_status="received", error="xxx").matched == 1


def test_a_node_that_a_mark_has_deactivated_counts_as_that():
    rig = Quick(settings=Settings(slice_nodes_max=1))
    rig.signal("signal")
    rig.complete("signal", *(new(f"n{n}", NON_BLOCKING, retries=0) for n in range(5)))
    for n in range(5):
        rig.error(f"n{n}")
    rig.send(c.ChangeNode(id=rig.new_id(), node_id=rig["signal"], status="canceled"))
    start(rig)
    rig.drain()
    assert total(rig).matched == 0


def test_what_is_made_after_it_began_is_left_alone():
    rig = shop(1, slice_nodes_max=1)
    start(rig)
    rig.deliver(Happened())
    rig.now += 1
    for number in range(20):
        of = workflow(f'"late {number}"'.encode())
        command = c.Signal(id=rig.new_id(), workflow_id=id_of(of), workflow=of, node=new(f"late{number}", retries=0))
        rig.send(command)
        rig.send(c.ChangeNode(id=rig.new_id(), node_id=rig[f"late{number}"], status="errored"))
    rig.drain()
    assert total(rig).done == 8
    assert len([name for name in exhausted(rig) if name.startswith("late")]) == 20


@pytest.mark.parametrize(
    ("action", "fields", "says"),
    [
        ("explode", {}, "There is no job 'explode'"),
        ("cancel", {}, "cancel needs a current_status"),
        ("retry", {"current_status": "tired"}, "current_status: there is no status 'tired'"),
        ("retry", {"past_status": "tired"}, "past_status: there is no status 'tired'"),
        ("pause", {"name": "charge"}, "pause is about workflows: name is asked of nodes"),
        ("retry", {"subject": "x" * 16_385}, "subject has 16385 bytes; subject_bytes_max is 16384"),
        ("resolve", {"response": b"x" * 262_145}, "The response has 262145 bytes"),
    ],
)
def test_a_job_with_a_wrong_filter_is_refused(action, fields, says):
    rig = shop(1, workflows=1)
    (refused,) = start(rig, action, **fields).replies
    assert refused.message.startswith(says)
    assert not rig.drain().commands
    assert list(rig.stores[0][JOBS].values()) == []


# --- its life --------------------------------------------------------------------------------------------------------


def test_sent_again_it_changes_nothing_and_says_how_far_it_is():
    rig = shop(2, slice_nodes_max=1)
    start(rig)
    rig.deliver(Happened())
    (first, _) = start(rig).replies
    assert first.jobs[0].done == 1
    rig.drain()
    again = start(rig)
    assert [reply.jobs[0].state for reply in again.replies] == [JobState.DONE] * 2
    assert not rig.drain().commands
    assert total(rig).done == 8
    for different in ({"name": "charge1"}, {"dry_run": True}, {"user": OTHER}, {"action": "resolve"}):
        assert {reply.reason for reply in start(rig, **different).replies} == {Reason.KEY_REUSED}


def test_one_that_was_asked_of_some_partitions_is_completed_by_asking_again():
    rig = shop(3)
    rig.send(c.StartJob(id=JOB, user_id=USER, tid="tid", partition=1, action="retry"))
    rig.drain()
    assert [store.get(JOBS, JOB) is not None for store in rig.stores] == [False, True, False]
    assert run(rig).done == 8


def test_a_stop_in_the_middle():
    rig = shop(1, slice_nodes_max=1)
    start(rig)
    for _ in range(30):
        rig.deliver(Happened())
        if total(rig).done == 3:
            break
    (stopped,) = rig.send(
        c.StopJob(id=rig.new_id(), user_id=USER, reply_to=reply_to(), partition=0, job_id=JOB)
    ).replies
    assert (stopped.jobs[0].state, stopped.jobs[0].done) == (JobState.STOPPED, 3)
    rig.drain()
    assert total(rig).done == 3
    assert len(exhausted(rig)) == 9
    rig.check()
    # Stopped once more, and started again under its id: it stays as it is.
    (again,) = rig.send(c.StopJob(id=rig.new_id(), reply_to=reply_to(), partition=0, job_id=JOB)).replies
    assert again == stopped
    assert [reply.jobs[0].state for reply in start(rig).replies] == [JobState.STOPPED]
    assert not rig.drain().commands


def test_a_stop_brings_what_was_begun_to_its_end():
    rig = Quick(settings=Settings(slice_nodes_max=2))
    rig.signal("signal")
    rig.complete("signal", *(new(f"n{n}", NON_BLOCKING) for n in range(10)))
    start(rig, "cancel", name="signal", current_status="processing_children")
    rig.deliver(Happened())
    assert rig.workflows()[rig.row("signal").workflow_id].sweeps == 1
    rig.send(c.StopJob(id=rig.new_id(), partition=0, job_id=JOB))
    rig.drain()
    assert {rig.statuses(node)[0] for node in rig.nodes()} == {"deactivated"}
    assert total(rig).state is JobState.STOPPED
    rig.check()


def test_another_users_job_is_not_found():
    rig = shop(1)
    start(rig)
    for user, job_id in ((OTHER, JOB), (USER, b"?" * 16)):
        stop = c.StopJob(id=rig.new_id(), user_id=user, reply_to=reply_to(), partition=0, job_id=job_id)
        assert rig.send(stop).reply.reason is Reason.NOT_FOUND


def asked(rig: World, user: bytes | None = USER, job_id: bytes | None = None) -> list[Job]:
    query = GetJobs(reply_to=reply_to(), deadline=0, user_id=user, partition=0, job_id=job_id)
    return [job for part in queries.answer(query, rig.stores[0]) for job in part.jobs]


def test_jobs_are_listed_by_their_owner():
    rig = shop(1)
    assert asked(rig) == []
    for number in range(23):
        run(rig, job_id=b"%016d" % number, user=OTHER if number % 2 else USER, dry_run=True)
    assert len(asked(rig, None)) == 23
    assert {job.user_id for job in asked(rig)} == {USER}
    assert len(asked(rig)) == 12
    assert [job.id for job in asked(rig, job_id=b"%016d" % 4)] == [b"%016d" % 4]
    assert asked(rig, job_id=b"%016d" % 5) == []


def test_one_that_has_ended_is_forgotten_in_time():
    rig = shop(2)
    run(rig)
    for partition, store in enumerate(rig.stores):
        due = rig.now + RETENTION_MS
        assert (due, JOB, TimerKind.JOB) in store.timers
        fired = rig.timer_fired(JOB, TimerKind.JOB, 0)
        rig.now = due
        rig._apply(partition, fired, Happened())
        assert store[JOBS] == {}
        again = Happened()
        rig._apply(partition, fired, again)
        assert again.of(e.Ignored)
        rig.now = due - RETENTION_MS
    rig.check()


def test_the_oldest_that_has_ended_makes_room():
    rig = shop(1, workflows=1)
    for number in range(KEPT_MAX + 3):
        run(rig, job_id=b"%016d" % number, dry_run=True)
        rig.now += 1
    kept = [job.id for job in list(rig.stores[0][JOBS].values())]
    assert (len(kept), kept[0]) == (KEPT_MAX, b"%016d" % 3)
    rig.check()
    rig = shop(1, workflows=1)
    for number in range(KEPT_MAX):
        start(rig, job_id=b"%016d" % number)
    (refused,) = start(rig).replies
    assert refused.reason is Reason.LIMIT_EXCEEDED


def test_only_engines_send_its_slices():
    command = c.WorkJob(id=JOB, partition=1, job_id=JOB)
    with pytest.raises(Refused, match="only engines send it"):
        check_command(command, 1, 0, 3)
    with pytest.raises(Refused, match="for partition 1 was sent to partition 2"):
        check_command(c.StartJob(id=JOB, partition=1, action="retry"), 2, 0, 3)
    rig = shop(1, workflows=1)
    assert rig.do(c.WorkJob(id=JOB, partition=0, job_id=JOB)).effects == []


# --- among other commands --------------------------------------------------------------------------------------------


class Watched(World):
    """Notes what a retry job does to each node, and which nodes have matched all the time."""

    job: bytes | None = None

    def begin(self, user: bytes | None) -> None:
        self.job, self.user = JOB, user
        self.began_at = self.now
        self.acted: dict[bytes, int] = {}
        self.still = self._matching()

    def _matching(self) -> set[bytes]:
        return {
            node.id
            for node in self.nodes().values()
            if self.statuses(node.id)[0] == "retries_exhausted"
            and self.user in (None, node.user_id)
            and node.created_at <= self.began_at
        }

    def _apply(self, number, command, happened):
        before = len(happened.effects)
        super()._apply(number, command, happened)
        if self.job is None:
            return
        if isinstance(command, c.WorkJob):
            for effect in happened.effects[before:]:
                for change in getattr(effect, "changes", ()):
                    moved = (word(change.change.from_status), word(change.change.to_status))
                    if moved == ("retries_exhausted", "ready"):
                        self.acted[change.node_id] = self.acted.get(change.node_id, 0) + 1
        self.still = (self.still & self._matching()) - set(self.acted)


@given(
    before=st.lists(MOVES, min_size=10, max_size=40),
    meanwhile=st.lists(MOVES, max_size=20),
    sizes=st.tuples(st.sampled_from([1, 3]), st.sampled_from([1, 8, 12])),
    user=st.sampled_from([None, USER, OTHER]),
    seed=NUMBERS,
)
def test_among_other_commands_each_node_is_acted_on_once(before, meanwhile, sizes, user, seed):
    partitions, slice_nodes_max = sizes
    player = Player(partitions, slice_nodes_max=slice_nodes_max, seed=seed)
    rig = player.world = Watched(partitions, player.world.stores[0].meta.settings)
    player.rush(Move("signal"))
    for move in before:
        player.rush(move)
    for node in list(rig.nodes().values()):
        # Enough of them are out of retries.
        if rig.statuses(node.id)[0] == "sent_to_client":
            rig.send(c.ChangeNode(id=rig.new_id(), node_id=node.id, status="errored", retriable=False))
    rig.now += 1
    rig.begin(user)
    start(rig, user=user)
    for move in meanwhile:
        player.rush(move)
    rig.drain(chance=player.chance)
    assert not rig.still, "one that matched all the time was left out"
    assert set(rig.acted.values()) <= {1}
    job = total(rig)
    assert (job.done, job.matched, job.refused) == (len(rig.acted), len(rig.acted), 0)
    assert job.state is JobState.DONE
    player.settle()
