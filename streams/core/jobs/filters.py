"""Filters of jobs over records: the searches of section 5 of the behaviour document."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from backbeat.schemas.messages.activities import error_text
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.jobs import NODE_ACTIONS, NODE_FILTERS, WORKFLOW_ACTIONS, Job, JobFilter
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.status import CLIENT_WORDS, SERVER_WORDS, ClientStatus, ServerStatus, word
from backbeat.streams.core.records import Node, Workflow
from backbeat.streams.core.step import Refused, refuse
from backbeat.streams.core.store import Store
from backbeat.streams.core.tables import CHUNKS, WORKFLOWS
from backbeat.streams.core.tree import history
from backbeat.streams.core.tree.deactivation import belongs_to_removed_workflow, is_deactivated

_ERRORED = {(True, ServerStatus.ERRORED), (False, ClientStatus.ERRORED)}


def validate_filter(action: str, job_filter: JobFilter, settings: Settings) -> JobFilter:
    """The filter of a new job, with its action's default status. Refused: unknown action or status, a text too long."""
    if action not in NODE_ACTIONS and action not in WORKFLOW_ACTIONS:
        known_words = ", ".join((*NODE_ACTIONS, *WORKFLOW_ACTIONS))
        raise _invalid(f"There is no job {action!r}", action, known_words)
    for name in ("current_status", "past_status"):
        status = getattr(job_filter, name)
        if status is not None and status not in SERVER_WORDS and status not in CLIENT_WORDS:
            known_words = ", ".join(dict.fromkeys((*SERVER_WORDS, *CLIENT_WORDS)))
            raise _invalid(f"{name}: there is no status {status!r}", status, known_words)
    for name in JobFilter.__struct_fields__:
        value = getattr(job_filter, name)
        if isinstance(value, str) and len(value.encode()) > settings.subject_bytes_max:
            limit = settings.subject_bytes_max
            message = f"{name} has {len(value.encode())} bytes; subject_bytes_max is {limit}"
            raise refuse(Reason.LIMIT_EXCEEDED, message, found=name, wanted=f"subject_bytes_max {limit}")
    if action in WORKFLOW_ACTIONS:
        for name in NODE_FILTERS:
            if getattr(job_filter, name) is not None:
                raise _invalid(f"{action} is about workflows: {name} is asked of nodes", name, "filters of workflows")
        return job_filter
    if job_filter.current_status is None:
        default_status = NODE_ACTIONS[action]
        if default_status is None:
            message = f"{action} needs a current_status: complete nodes would be deactivated, too"
            raise _invalid(message, "none", "a current_status")
        return msgspec.structs.replace(job_filter, current_status=default_status)
    return job_filter


def _invalid(message: str, found: str, wanted: str) -> Refused:
    return refuse(Reason.INVALID_PARAMETERS, message, found=found, wanted=wanted)


class Matcher:
    """A job's filter over one partition's records. Records created after the job began never match.

    Those created in the millisecond in which it began cannot be told apart by time, and count as created before.
    """

    def __init__(self, store: Store, job: Job) -> None:
        self._store = store
        self._job = job
        self._filter = job.filter
        self._subject = _encoded(job.filter.subject)
        self._metadata = _encoded(job.filter.metadata)
        self._filters_changes = (job.filter.past_status, job.filter.status_start, job.filter.status_end) != (
            None,
            None,
            None,
        )
        #: records read beside those that were examined
        self.reads = 0

    def node(self, node: Node) -> Workflow | None:
        """The node's workflow, if the node matches."""
        job_filter = self._filter
        if not self._is_visible(node.user_id, node.created_at):
            return None
        if job_filter.name is not None and job_filter.name != node.name:
            return None
        if self._metadata is not None and self._metadata not in node.metadata:
            return None
        if job_filter.workflow_id is not None and job_filter.workflow_id != node.workflow_id:
            return None
        workflow = self._store.get(WORKFLOWS, node.workflow_id)
        if workflow is None or belongs_to_removed_workflow(node, workflow):
            return None
        if not self._matches_texts(workflow) or not self._has_status(node, workflow):
            return None
        if self._filters_changes and not any(map(self._matches_change, self._changes(node))):
            return None
        if job_filter.error is not None and job_filter.error not in self._last_error(node):
            return None
        return workflow

    def workflow(self, workflow: Workflow) -> bool:
        """True when a workflow matches, and the job would change it."""
        return (
            self._is_visible(workflow.user_id, workflow.created_at)
            and self._filter.workflow_id in (None, workflow.id)
            and self._matches_texts(workflow)
            and bool(workflow.paused) is (self._job.action == "resume")
        )

    def _is_visible(self, user_id: bytes, created_at: int) -> bool:
        job_filter, job = self._filter, self._job
        return (
            job.user_id in (None, user_id)
            and job_filter.client_id in (None, user_id)
            and created_at <= job.started_at
            and (job_filter.created_start is None or created_at >= job_filter.created_start)
            and (job_filter.created_end is None or created_at <= job_filter.created_end)
        )

    def _matches_texts(self, workflow: Workflow) -> bool:
        if self._filter.workflow_name not in (None, workflow.name):
            return False
        return self._subject is None or self._subject in workflow.subject

    def _has_status(self, node: Node, workflow: Workflow) -> bool:
        status = self._filter.current_status
        if status is None or status == word(node.client):
            return True
        server = ServerStatus.DEACTIVATED if is_deactivated(self._store, node, workflow) else node.server
        return status == word(server)

    # --- history -----------------------------------------------------------------------------------------------------

    def _changes(self, node: Node) -> Iterator[StatusChange]:
        """Newest first: filters usually match recent changes."""
        yield from reversed(list(history.unpack(node.history)))
        for number in reversed(range(node.history_chunks)):
            self.reads += 1
            chunk = self._store.get(CHUNKS, (node.id, number))
            assert chunk is not None, "a chunk of history that is not stored"
            yield from reversed(list(history.unpack(chunk)))

    def _matches_change(self, change: StatusChange) -> bool:
        job_filter = self._filter
        return (
            job_filter.past_status in (None, word(change.to_status))
            and (job_filter.status_start is None or change.at >= job_filter.status_start)
            and (job_filter.status_end is None or change.at <= job_filter.status_end)
        )

    def _last_error(self, node: Node) -> str:
        for change in self._changes(node):
            if (change.server, change.to_status) in _ERRORED:
                return error_text(change.response)
        return ""


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
