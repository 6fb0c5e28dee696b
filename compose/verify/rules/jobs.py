"""Jobs: one change for all nodes, or workflows, that match, in the order of their ids, slice by slice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from backbeat.compose.verify.avro import Command
from backbeat.compose.verify.rules import operators, removal, results
from backbeat.compose.verify.rules.checks import INVALID, LIMIT, NOT_FOUND, Refused, check_response, check_size
from backbeat.compose.verify.rules.records import Job
from backbeat.compose.verify.rules.tree import (
    CLIENT,
    CLIENT_ERRORED,
    CLIENT_WORDS,
    ERRORED,
    SERVER,
    SERVER_WORDS,
    Entry,
    Node,
    Tree,
)
from backbeat.compose.verify.rules.work import Rule, Work
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import JSON_DEPTH_MAX
from backbeat.schemas.messages.json_text import JsonTextError, parse

_RUNNING, _STOPPED, _DONE = "running", "stopped", "done"
_NODE_ACTIONS = {
    "retry": "retries_exhausted",
    "resolve": "retries_exhausted",
    "shutdown": "retries_exhausted",
    "cancel": None,
}
_WORKFLOW_ACTIONS = ("pause", "resume")
_OF_NODES = ("name", "metadata", "error", "current_status", "past_status", "status_start", "status_end")
_STATUS_OF = {"cancel": "canceled", "resolve": "resolved", "shutdown": "shutdown"}
_KEPT_MAX, _SHOWN_MAX = 100, 20
#: Nodes or workflows that are read at a time.
_BATCH = 100
_ERRORS = ((SERVER, ERRORED), (CLIENT, CLIENT_ERRORED))
_RETENTION_MS = 7 * 86_400_000
_SHARE, _EXAMINED_PER_NODE = 4, 16


def on_start_job(work: Work, command: Command) -> None:
    """A job begins, unless it is there."""
    jobs = work.partition.state.jobs
    conditions = _checked_filter(work, command["action"], command["filter"])
    stored = jobs.get(command["id"])
    request = (command["user_id"], command["action"], conditions, command["response"], command["dry_run"])
    if stored is not None:
        if request != (stored.user_id, stored.action, stored.filter, stored.response, stored.dry_run):
            raise Refused("key_reused")
        return
    check_response(command["response"], work.settings)
    if len(jobs) >= _KEPT_MAX:
        ended = [job for job in jobs.values() if job.ended_at is not None]
        if not ended:
            raise Refused(LIMIT)
        del jobs[min(ended, key=lambda job: (job.ended_at, job.id)).id]
    jobs[command["id"]] = Job(
        id=command["id"],
        user_id=command["user_id"],
        action=command["action"],
        filter=conditions,
        response=command["response"],
        dry_run=command["dry_run"],
        tid=command["tid"],
        started_at=work.now,
        note=command["note"],
        actor=command["actor"],
    )
    work.send("WorkJob", {"job_id": command["id"]})


def _checked_filter(work: Work, action: str, conditions: Command) -> Command:
    if action not in _NODE_ACTIONS and action not in _WORKFLOW_ACTIONS:
        raise Refused(INVALID)
    for name in ("current_status", "past_status"):
        if conditions[name] not in (None, *SERVER_WORDS, *CLIENT_WORDS):
            raise Refused(INVALID)
    for value in conditions.values():
        if isinstance(value, str):
            check_size(len(value.encode()), work.settings["subject_bytes_max"])
    if action in _WORKFLOW_ACTIONS:
        if any(conditions[name] is not None for name in _OF_NODES):
            raise Refused(INVALID)
        return conditions
    if conditions["current_status"] is not None:
        return conditions
    if _NODE_ACTIONS[action] is None:
        raise Refused(INVALID)
    return {**conditions, "current_status": _NODE_ACTIONS[action]}


def on_stop_job(work: Work, command: Command) -> None:
    """A job goes no further."""
    job = work.partition.state.jobs.get(command["job_id"])
    if job is None or command["user_id"] not in (None, job.user_id):
        raise Refused(NOT_FOUND)
    if job.ended_at is None:
        _end(job, _STOPPED, work.now)


def _end(job: Job, state: str, now: int) -> None:
    job.state, job.ended_at, job.forget_at = state, now, now + _RETENTION_MS


def on_work_job(work: Work, command: Command) -> None:
    """The next slice of a job, and before it what its newest change has left."""
    part = _Slice(work)
    if command["workflow_id"] is not None:
        part.apply("Continue", operators.on_continue, command)
    job = work.partition.state.jobs.get(command["job_id"])
    if job is not None and job.state == _RUNNING:
        part.walk(job)
        if job.state == _RUNNING or part.has_rest:
            work.send("WorkJob", {"job_id": command["job_id"]})
    elif part.has_rest:
        work.send("WorkJob", {"job_id": command["job_id"]})


def on_forget(work: Work, command: Command) -> None:
    """A job that has ended is forgotten."""
    job = work.partition.state.jobs.get(command["subject_id"])
    if job is not None and job.forget_at is not None:
        del work.partition.state.jobs[job.id]


class _Slice:
    """Work of one WorkJob."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._partition = work.partition
        self._nodes_left: int = max(1, work.settings["slice_nodes_max"] // _SHARE)
        self._examined_left = self._nodes_left * _EXAMINED_PER_NODE
        self._reads = 0  #: records of histories that were read beside those that were examined
        #: true: the newest change has left work to be done first
        self.has_rest = False

    def _may_go_on(self) -> bool:
        return not self.has_rest and self._nodes_left > 0 and self._examined_left > self._reads

    def walk(self, job: Job) -> None:
        """Examine the next records, and change those that match."""
        if not self._may_go_on():
            return
        # What a change adds is looked at, too, if it lies behind those that were read with it.
        while identities := self._batch(job):
            for identity in identities:
                job.cursor = identity
                job.examined += 1
                self._examined_left -= 1
                family = self._partition.spill.family(self._partition.number, identity)
                if job.action in _WORKFLOW_ACTIONS:
                    self._workflow(job, family.trees[identity])
                elif identity in family.nodes:  # else it is left over from a removal
                    self._node(job, *family.nodes[identity])
                if not self._may_go_on():
                    return
        _end(job, _DONE, self._work.now)

    def _batch(self, job: Job) -> list[bytes]:
        after, most = job.cursor or None, min(self._examined_left, _BATCH)
        spill, number = self._partition.spill, self._partition.number
        if job.action in _WORKFLOW_ACTIONS:
            return spill.workflow_ids(number, after, most)
        leftovers = {identity for identity in self._partition.leftovers() if after is None or identity > after}
        return sorted(leftovers.union(spill.node_ids(number, after, most)))[:most]

    def _workflow(self, job: Job, tree: Tree) -> None:
        matches = (
            _is_visible(job, tree.user_id, tree.created_at)
            and job.filter["workflow_id"] in (None, tree.id)
            and _texts_match(job, tree)
            and bool(tree.paused) is (job.action == "resume")
        )
        if matches:
            fields = {"workflow_id": tree.id, "change": job.action}
            self._change(job, (tree.id, tree.name, tree.name), "ChangeWorkflow", operators.on_change_workflow, fields)

    def _node(self, job: Job, tree: Tree, node: Node) -> None:
        if not self._matches(job, tree, node):
            return
        fields: Command = {"node_id": node.id}
        name, rule = "RestartNode", operators.on_restart_node
        if job.action != "retry":
            name, rule = "ChangeNode", results.on_change_node
            fields |= {
                "status": _STATUS_OF[job.action],
                "response": job.response,
                "children": [],
                "attempt": None,
                "retriable": True,
                "retry_after_seconds": None,
                "attempted": True,
                "compensate": False,
            }
        self._change(job, (node.id, node.name, tree.name), name, rule, fields)

    def _change(self, job: Job, match: tuple[bytes, str, str], name: str, rule: Rule, fields: dict[str, Any]) -> None:
        job.matched += 1
        if len(job.matches) < _SHOWN_MAX:
            job.matches.append(match)
        if job.dry_run:
            return
        command = {
            "id": ids.command_id(b"job", job.id, match[0]),
            "user_id": job.user_id,
            "tid": job.tid,
            "reply_to": None,
            "body_hash": None,
            "source": None,
            **fields,
        }
        reason = self.apply(name, rule, command)
        if reason is None:
            job.done += 1
            return
        job.refused += 1
        if len(job.refusals) < _SHOWN_MAX:
            job.refusals.append((match[0], reason))

    def apply(self, name: str, rule: Rule, command: Command) -> str | None:
        """Make one change, within the rest of the slice's budget; the reason of its refusal, or null."""
        inner = Work(self._partition, name, command, self._nodes_left)
        inner.is_of_job = True
        self._nodes_left -= 1
        try:
            rule(inner, command)
        except Refused as refused:
            return refused.reason
        operators.run_tasks(inner)
        removal.review(inner)
        inner.finish()
        self._nodes_left = min(self._nodes_left, inner.budget)
        self.has_rest = inner.was_cut
        return None

    # --- what matches ------------------------------------------------------------------------------------------------

    def _matches(self, job: Job, tree: Tree, node: Node) -> bool:
        conditions = job.filter
        if not _is_visible(job, node.user_id, node.created_at) or conditions["name"] not in (None, node.name):
            return False
        if conditions["metadata"] is not None and conditions["metadata"].encode() not in self._partition.text(
            node.id, node.metadata
        ):
            return False
        if conditions["workflow_id"] not in (None, tree.id) or not _texts_match(job, tree):
            return False
        status = conditions["current_status"]
        if status not in (None, CLIENT_WORDS[node.client], SERVER_WORDS[node.status]):
            return False
        return self._history_matches(conditions, node)

    def _history_matches(self, conditions: Command, node: Node) -> bool:
        past, start, end, error = (conditions[name] for name in ("past_status", "status_start", "status_end", "error"))
        if (past, start, end, error) == (None, None, None, None):
            return True
        if (past, start, end) != (None, None, None) and not any(
            past in (None, (SERVER_WORDS if status == SERVER else CLIENT_WORDS)[to])
            and (start is None or at >= start)
            and (end is None or at <= end)
            for status, _, to, at, _ in self._newest_first(node)
        ):
            return False
        if error is None:
            return True
        any((status, to) in _ERRORS for status, _, to, _, _ in self._newest_first(node))
        if node.last_error is not None and node.last_error[:1] == b"*":
            self._partition.unjudged["WorkJob whose filter reads the text of a refusal"] += 1
        last_error = None if node.last_error is None else self._partition.text(node.id, node.last_error)
        return error in _error_text(last_error)

    def _newest_first(self, node: Node) -> Iterator[Entry]:
        """The status changes of a node; reading what was put away is counted."""
        ends = [*node.chunk_ends, len(node.history)]
        for place in range(len(ends) - 1, -1, -1):
            begin = ends[place - 1] if place else 0
            self._reads += place < len(node.chunk_ends)
            yield from reversed(node.history[begin : ends[place]])


def _is_visible(job: Job, user_id: bytes, created_at: int) -> bool:
    conditions = job.filter
    return (
        job.user_id in (None, user_id)
        and conditions["client_id"] in (None, user_id)
        and created_at <= job.started_at
        and (conditions["created_start"] is None or created_at >= conditions["created_start"])
        and (conditions["created_end"] is None or created_at <= conditions["created_end"])
    )


def _texts_match(job: Job, tree: Tree) -> bool:
    subject = job.filter["subject"]
    named = job.filter["workflow_name"] in (None, tree.name)
    return named and (subject is None or subject.encode() in tree.subject)


def _error_text(response: bytes | None) -> str:
    """Message of an error response; its JSON text where it has none."""
    if response is None:
        return ""
    try:
        error = parse(response, JSON_DEPTH_MAX)
    except JsonTextError:
        return response.decode(errors="replace")
    for name in ("error", "message"):
        if isinstance(error, dict):
            error = error.get(name, error)
    if error is None:
        return ""
    return error if isinstance(error, str) else msgspec.json.encode(error).decode()


JOB_RULES: dict[str, Rule] = {"StartJob": on_start_job, "StopJob": on_stop_job, "WorkJob": on_work_job}
