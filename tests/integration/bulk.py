"""A bulk retry of many nodes whose engine is killed (-9) again and again: each node is retried exactly once."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Sequence

from backbeat.compose.local.stack import CLIENT_DEFAULT
from backbeat.schemas.codec import decode_status_changes
from backbeat.schemas.kafka.topics import HISTORY
from backbeat.schemas.messages import activities
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.commands import AnyCommand, ChangeSettings, StartJob
from backbeat.schemas.messages.jobs import Job, JobFilter, JobState, add_up
from backbeat.schemas.messages.queries import GetJobs
from backbeat.schemas.messages.replies import Done
from backbeat.schemas.messages.status import Mode, ServerStatus
from backbeat.schemas.messages.values import NewNode
from tests.integration.caller import node_of, result
from tests.integration.hand import Hand
from tests.integration.installation import Installation
from tests.integration.rig import PARTITIONS
from tests.integration.topic import read_whole
from tests.waiting import until

_CHILDREN_MAX = 500
_SECONDS_MAX = 600.0


def retry_all(system: Installation, count: int, *, slice_nodes_max: int, kills: int) -> None:
    """Make so many nodes without retries, retry all of them by a job, and kill the engine so often meanwhile."""
    for partition in range(PARTITIONS):
        settings = Settings(slice_nodes_max=slice_nodes_max)
        command = ChangeSettings(id=uuid.uuid4().bytes, settings=settings)
        assert system.caller.ask(command, partition=partition) == Done()
    flows = [str(number).encode() for number in range(-(-count // _CHILDREN_MAX))]

    def answer(activity: activities.ActivityRecord) -> Sequence[AnyCommand]:
        node = activity.node
        if activity.kind is activities.ActivityKind.NOTIFICATION or node.attempt > 1:
            return []
        if node.name != "Begin":
            return [result(node, "errored", response=b'{"error":{"message":"refused"}}')]
        size = min(_CHILDREN_MAX, count - int(node.subject) * _CHILDREN_MAX)
        child = NewNode(name="Charge", user_id=system.user, mode=Mode.NON_BLOCKING, retries=0)
        return [result(node, children=(child,) * size)]

    hand = Hand(system.caller, CLIENT_DEFAULT, answer)
    try:
        began = time.monotonic()
        signals = [system.caller.signal(subject, "Begin") for subject in flows]
        for signal in signals:
            system.caller.send(signal)
        hand.wait_for(lambda activity: activity.node.name == "Charge", count, _SECONDS_MAX)
        until(lambda: _counted(system) == count, f"{count} nodes are out of retries", _SECONDS_MAX)
        made = time.monotonic() - began
        began = time.monotonic()
        job_id = _start(system)
        for kill in range(kills):
            threshold = count * kill // kills
            seen = until(
                lambda at=threshold: _beyond(system, job_id, at),
                f"the job is beyond {threshold}",
                _SECONDS_MAX,
                pause_max=0.02,
            )
            assert seen.state is JobState.RUNNING, "it was done before it could be killed: take smaller slices"
            system.kill()
            system.start()
        job = until(lambda: _ended(system, job_id), "the job is done", _SECONDS_MAX)
        print(f"\n{count} nodes out of retries after {made:.1f} s; retried in {time.monotonic() - began:.1f} s, "
              f"{kills} kills and restarts included; {job.examined} nodes examined")  # fmt: skip
        assert (job.state, job.matched, job.done, job.refused) == (JobState.DONE, count, count, 0)
        _check(system, hand, [node_of(signal) for signal in signals], [signal.workflow_id for signal in signals], count)
    finally:
        hand.close()


def _start(system: Installation, *, dry_run: bool = False) -> bytes:
    job_id = uuid.uuid4().bytes
    for partition in range(PARTITIONS):
        job_filter = JobFilter(name="Charge", error="refused")
        system.caller.ask(
            StartJob(
                id=job_id, user_id=system.user, partition=partition, action="retry", filter=job_filter, dry_run=dry_run
            )
        )
    return job_id


def _job(system: Installation, job_id: bytes) -> Job:
    parts = [system.caller.query(GetJobs, partition=number, job_id=job_id) for number in range(PARTITIONS)]
    return add_up([job for some in parts for part in some for job in part.jobs], PARTITIONS)


def _ended(system: Installation, job_id: bytes) -> Job | None:
    job = _job(system, job_id)
    return None if job.ended_at is None else job


def _beyond(system: Installation, job_id: bytes, threshold: int) -> Job | None:
    job = _job(system, job_id)
    return job if job.done > threshold else None


def _counted(system: Installation) -> int:
    job_id = _start(system, dry_run=True)
    return until(lambda: _ended(system, job_id), "it is counted", _SECONDS_MAX).matched


def _check(system: Installation, hand: Hand, signals: list[bytes], workflows: list[bytes], count: int) -> None:
    nodes = {node.id: node for workflow_id in workflows for node in system.caller.tree(workflow_id)}
    charges = {node_id: node for node_id, node in nodes.items() if node_id not in signals}
    assert len(charges) == count
    # A node's attempt is raised whenever it starts.
    assert {(node.attempt, node.server) for node in charges.values()} == {(2, ServerStatus.SENT_TO_CLIENT)}
    # Workers got each second attempt; what came again after a kill is the same attempt.
    until(lambda: len({record.node.id for record in hand.seen if record.node.attempt == 2}) == count, "all came again")
    attempts: dict[bytes, set[int]] = defaultdict(set)
    for activity in hand.seen:
        attempts[activity.node.id].add(activity.node.attempt)
    assert {tuple(sorted(attempts[node_id])) for node_id in charges} == {(1, 2)}
    # The history tells of each retry at one time, however often a replay told of it.
    retried: dict[bytes, set[int]] = defaultdict(set)
    for message in read_whole(system.kafka, HISTORY):
        for change in decode_status_changes(message.value()).changes:
            if change.change.server and change.change.from_status is ServerStatus.RETRIES_EXHAUSTED:
                retried[change.node_id].add(change.change.at)
    assert retried.keys() == charges.keys()
    assert {len(times) for times in retried.values()} == {1}
