"""Jobs: a change of one partition's nodes, or workflows, in the order of their ids, a slice at a time.

A slice is one command. It examines the next records, applies the single command to each that matches (with the job's
user), and stores its cursor, in one transaction: so each record is changed once, even after a crash. Then it sends one
WorkJob for the next slice; a job never has more than one in the log. The remaining tasks of a change (the sweep of a
large cancel) go with it and are done first.
"""

from __future__ import annotations

from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import (
    AnyCommand,
    ChangeNode,
    ChangeWorkflow,
    Continue,
    FailNode,
    RestartNode,
    StartJob,
    StopJob,
    TimerFired,
    WorkJob,
)
from backbeat.schemas.messages.jobs import (
    KEPT_MAX,
    RETENTION_MS,
    SHOWN_MAX,
    WORKFLOW_ACTIONS,
    Job,
    JobMatch,
    JobRefusal,
    Jobs,
    JobState,
)
from backbeat.schemas.messages.replies import Reason
from backbeat.streams.core.checks import check_response
from backbeat.streams.core.effects import Effect, Reply, Send
from backbeat.streams.core.jobs.filters import Matcher, validate_filter
from backbeat.streams.core.records import Node, Workflow
from backbeat.streams.core.step import Refused, Step, refuse
from backbeat.streams.core.tables import JOBS, NODES, WORKFLOWS
from backbeat.streams.core.transaction import Transaction

#: A slice's share of `slice_nodes_max`, one in so many: every partition of a process may have such a command at the
#: same time, and others wait for all of them.
_SHARE = 4
#: Records that a slice examines, for each node that it may work on.
_EXAMINED_PER_NODE = 16
#: Records that are read at a time.
_BATCH_RECORDS = 100
_MESSAGE_CHARACTERS_MAX = 500
#: Exceptions that mean a bug in the rules; store errors are not among them, and end the process.
_DEFECTS = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
_STATUS_WORDS = {"cancel": "canceled", "resolve": "resolved", "shutdown": "shutdown"}


def start_job(step: Step, command: StartJob) -> None:
    """Start a job; a repeat gets the job as it is."""
    _answer(step, _start(step, command))


def stop_job(step: Step, command: StopJob) -> None:
    """Stop a job at its cursor."""
    _answer(step, _stop(step, command))


def work_job(step: Step, command: WorkJob) -> None:
    """Do the next slice of a job. The step itself touches no workflow."""
    step.effects += _Slice(step, command).work()


def forget_job(step: Step, command: TimerFired) -> None:
    """Delete a job whose retention is over."""
    job = step.transaction.get(JOBS, command.subject_id)
    if job is None or job.forget_at is None:
        step.ignore("a job that was forgotten before")
    else:
        step.transaction.delete(JOBS, job.id)


def _answer(step: Step, job: Job) -> None:
    command = step.command
    if command.reply_to is not None:
        step.effects.append(Reply(command.reply_to, Jobs((job,)), command.tid))


def _start(step: Step, command: StartJob) -> Job:
    transaction = step.transaction
    job_filter = validate_filter(command.action, command.filter, step.settings)
    stored_job = transaction.get(JOBS, command.id)
    if stored_job is not None:
        request = (command.user_id, command.action, job_filter, command.response, command.dry_run)
        if request != (
            stored_job.user_id,
            stored_job.action,
            stored_job.filter,
            stored_job.response,
            stored_job.dry_run,
        ):
            message = f"The id {command.id.hex()} is another job's"
            raise refuse(Reason.KEY_REUSED, message, found="another job", wanted="the same job")
        return stored_job
    check_response(step, command.response)
    _make_room(transaction)
    job = Job(
        id=command.id,
        partition=command.partition,
        user_id=command.user_id,
        action=command.action,
        filter=job_filter,
        response=command.response,
        dry_run=command.dry_run,
        tid=command.tid,
        started_at=step.now,
        note=command.note,
        actor=command.actor,
    )
    transaction.put(JOBS, job.id, job)
    step.effects.append(Send(WorkJob(id=job.id, tid=job.tid, partition=job.partition, job_id=job.id)))
    return job


def _make_room(transaction: Transaction) -> None:
    jobs = [job for _, job in transaction.scan(JOBS, None, KEPT_MAX)]
    if len(jobs) < KEPT_MAX:
        return
    ended = [job for job in jobs if job.ended_at is not None]
    if not ended:
        message = f"{KEPT_MAX} jobs are running; stop one first"
        raise refuse(Reason.LIMIT_EXCEEDED, message, found=f"{KEPT_MAX} jobs", wanted="fewer")
    transaction.delete(JOBS, min(ended, key=lambda job: (job.ended_at or 0, job.id)).id)


def _stop(step: Step, command: StopJob) -> Job:
    job = step.transaction.edit(JOBS, command.job_id)
    if job is None or command.user_id not in (None, job.user_id):
        message = f"No job has the id {command.job_id.hex()}"
        raise refuse(Reason.NOT_FOUND, message, found="nothing", wanted="a job")
    if job.ended_at is None:
        _end(job, JobState.STOPPED, step.now)
    return job


def _end(job: Job, state: JobState, now: int) -> None:
    job.state, job.ended_at, job.forget_at = state, now, now + RETENTION_MS


class _Slice:
    """A slice of a job: the work of one command."""

    def __init__(self, step: Step, command: WorkJob) -> None:
        self._transaction = step.transaction
        self._command = command
        self._now = step.now
        self._hooks = step.hooks
        self._effects: list[Effect] = []
        self._nodes_left = max(1, step.settings.slice_nodes_max // _SHARE)
        self._examined_left = self._nodes_left * _EXAMINED_PER_NODE
        #: the remaining tasks of the newest change
        self._remaining: Continue | None = None
        #: true: records read before may have changed since
        self._stale = False

    def work(self) -> list[Effect]:
        """The slice's effects."""
        command = self._command
        if command.workflow_id is not None:
            # Also of a job that was stopped: a change that was begun is brought to its end.
            remaining = Continue(id=command.id, tid=command.tid, workflow_id=command.workflow_id, tasks=command.tasks)
            self._apply_whole(remaining, command.tasks[0].id)
        job = self._transaction.edit(JOBS, command.job_id)
        if job is not None and job.state is JobState.RUNNING:
            self._walk(job)
            if job.state is JobState.RUNNING:
                self._go_on()
                return self._effects
        if self._remaining is not None:
            self._go_on()
        return self._effects

    def _go_on(self) -> None:
        command, remaining = self._command, self._remaining
        self._effects.append(
            Send(
                WorkJob(
                    id=command.id,
                    tid=command.tid,
                    partition=command.partition,
                    job_id=command.job_id,
                    workflow_id=None if remaining is None else remaining.workflow_id,
                    tasks=() if remaining is None else remaining.tasks,
                )
            )
        )

    def _walk(self, job: Job) -> None:
        matcher = Matcher(self._transaction, job)
        while self._may_go_on(matcher):
            batch = self._batch(job)
            if not batch:
                _end(job, JobState.DONE, self._now)
                return
            self._stale = False
            for record in batch:
                job.cursor = record.id
                job.examined += 1
                self._examined_left -= 1
                if isinstance(record, Node):
                    self._examine_node(job, matcher, record)
                else:
                    self._examine_workflow(job, matcher, record)
                if not self._may_go_on(matcher):
                    break

    def _batch(self, job: Job) -> list[Node] | list[Workflow]:
        """The next records behind those that were examined."""
        scan, behind, most = self._transaction.scan, job.cursor or None, min(self._examined_left, _BATCH_RECORDS)
        if job.action in WORKFLOW_ACTIONS:
            return [workflow for _, workflow in scan(WORKFLOWS, behind, most)]
        return [node for _, node in scan(NODES, behind, most)]

    def _may_go_on(self, matcher: Matcher) -> bool:
        return self._remaining is None and self._nodes_left > 0 and self._examined_left > matcher.reads

    def _examine_node(self, job: Job, matcher: Matcher, scanned: Node) -> None:
        node = self._transaction.get(NODES, scanned.id) if self._stale else scanned
        workflow = None if node is None else matcher.node(node)
        if node is None or workflow is None:
            return
        identity = ids.command_id(b"job", job.id, node.id)
        command: AnyCommand
        if job.action == "retry":
            command = RestartNode(id=identity, user_id=job.user_id, tid=job.tid, node_id=node.id)
        else:
            command = ChangeNode(
                id=identity,
                user_id=job.user_id,
                tid=job.tid,
                node_id=node.id,
                status=_STATUS_WORDS[job.action],
                response=job.response,
            )
        self._change(job, JobMatch(node.id, node.name, workflow.name), command)

    def _examine_workflow(self, job: Job, matcher: Matcher, workflow: Workflow) -> None:
        if not matcher.workflow(workflow):
            return
        command = ChangeWorkflow(
            id=ids.command_id(b"job", job.id, workflow.id),
            user_id=job.user_id,
            tid=job.tid,
            workflow_id=workflow.id,
            change=job.action,
        )
        self._change(job, JobMatch(workflow.id, workflow.name, workflow.name), command)

    def _change(self, job: Job, match: JobMatch, command: AnyCommand) -> None:
        job.matched += 1
        if len(job.matches) < SHOWN_MAX:
            job.matches += (match,)
        if job.dry_run:
            return
        refusal = self._apply_whole(command, match.id)
        if refusal is None:
            job.done += 1
            return
        job.refused += 1
        if len(job.refusals) < SHOWN_MAX:
            job.refusals += (refusal,)

    def _apply_whole(self, command: AnyCommand, subject_id: bytes) -> JobRefusal | None:
        """Apply one command in a transaction of its own. Null: it was applied; else it has changed nothing."""
        refusal = None
        inner = Transaction(self._transaction)
        try:
            effects = self._apply(command, inner)
        except Refused as refused:
            rejection = refused.rejection
            return JobRefusal(subject_id, rejection.reason, rejection.message[:_MESSAGE_CHARACTERS_MAX])
        except _DEFECTS as defect:
            # The other changes stand, and the node shows the defect, as where a single command fails.
            refusal = JobRefusal(subject_id, "defect", f"{type(defect).__name__}: {defect}"[:_MESSAGE_CHARACTERS_MAX])
            inner.rollback()
            failed = FailNode(id=command.id, tid=command.tid, node_id=subject_id, message="The engine failed")
            effects = self._apply(failed, inner)
        inner.commit()
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.command, Continue):
                self._remaining = effect.command
            else:
                self._effects.append(effect)
        return refusal

    def _apply(self, command: AnyCommand, inner: Transaction) -> list[Effect]:
        """Apply a command within the rest of this slice's budget."""
        step = Step(inner, command, self._now, self._hooks)
        step.budget = self._nodes_left
        self._nodes_left -= 1
        self._hooks.work(step, command)
        self._nodes_left = min(self._nodes_left, step.budget)
        self._stale = True
        return step.finish()
