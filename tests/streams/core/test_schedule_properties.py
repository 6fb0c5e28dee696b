"""Whatever is done to a schedule, in whatever order: each due time runs once at most, in order, and all add up."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.schedules import QUEUED_MAX, RECENT_MAX, RUNNING_MAX, Overlap, RunCause
from backbeat.streams.core.effects import Send
from tests.streams.core.schedule_rig import HOUR, ScheduleRig

MOVES = st.lists(
    st.tuples(
        st.sampled_from(["due", "due", "due", "end", "end", "pause", "resume", "trigger", "backfill", "change"]),
        st.integers(0, 7),
    ),
    max_size=40,
)


class Played(ScheduleRig):
    """Every run that was signalled, in order, and every time that was offered."""

    def __init__(self, overlap: Overlap) -> None:
        super().__init__(partitions=2)
        self.started: list[tuple[RunCause, int]] = []
        self.ids: set[bytes] = set()
        self.known: set[bytes] = set()
        self.offered = 0
        self.put(overlap=overlap, catch_up_seconds=4 * 3600.0)
        self.came()

    def do(self, command, now=None, chance=None):
        happened = super().do(command, now, chance)
        for effect in happened.of(Send):
            if isinstance(effect.command, c.Signal):
                assert effect.command.id not in self.ids, "a run was made twice"
                self.ids.add(effect.command.id)
        schedule = self.scheduled()
        seen = [run for run in (*schedule.recent, *schedule.running) if run.node_id is not None]
        for run in sorted(seen, key=lambda run: (run.started_at, run.scheduled_at)):
            if run.node_id not in self.known:
                self.known.add(run.node_id)
                self.started.append((run.cause, run.scheduled_at))
        assert len(schedule.running) <= RUNNING_MAX
        assert len(schedule.queued) <= QUEUED_MAX
        assert len(schedule.recent) <= RECENT_MAX
        assert schedule.started == len(self.ids)
        assert self.offered == schedule.started + schedule.skipped + schedule.missed + len(schedule.queued)
        return happened

    def play(self, word: str, how: int) -> None:
        self.now += 1
        schedule = self.scheduled()
        match word:
            case "due" if not schedule.paused:
                first = max(schedule.after, self.now) + HOUR
                times = [first + number * HOUR for number in range(how)]
                self.offered += len(times)
                self.came(*times)
                self.came(*times)  # once more: they have been dealt with
            case "end" if schedule.running:
                run = schedule.running[how % len(schedule.running)]
                self.ask(c.ChangeNode, node_id=run.node_id, status="completed")
            case "pause" | "resume":
                self.change(word)
            case "trigger":
                self.offered += 1
                self.trigger(overlap=None if how < 4 else schedule.plan.overlap)
            case "backfill" if how:
                self.offered += how
                self.trigger(*(self.now - (how - number) * HOUR + 10**9 for number in range(how)))
            case "change":
                self.put(msgspec.structs.replace(schedule.plan, interval_seconds=3600.0 + how))
            case _:
                return


@given(st.sampled_from(Overlap), MOVES)
def test_each_time_runs_once_at_most_and_all_add_up(overlap, moves):
    played = Played(overlap)
    for word, how in moves:
        before = played.scheduled().timer_number
        played.play(word, how)
        assert played.scheduled().timer_number >= before
        if overlap is not Overlap.ALLOW:
            assert len(played.scheduled().running) <= 1
    due = [at for cause, at in played.started if cause is RunCause.DUE]
    assert due == sorted(set(due)), "a due time ran twice, or before an earlier one"
