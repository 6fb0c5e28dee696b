"""The playbook: the plays that certify an installation, and those that a user adds."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

import msgspec

from backbeat.compose.drill.load.payments import CLIENT, FLOOD_CLIENT
from backbeat.compose.drill.plays.agreed import bounds_of
from backbeat.compose.drill.plays.play import Play
from backbeat.compose.drill.watch.bounds import Bound
from backbeat.compose.drill.watch.figures import FIGURES, is_figure

#: Entry points of this group are plays of a user's own: a Play, or a list of them.
ENTRY_POINTS = "backbeat.plays"


class PlaybookError(Exception):
    """A playbook cannot be read, or has no such play; the text says what to do."""


PLAYBOOK = (
    Play(
        number=1,
        name="engine-killed",
        summary="an engine is killed at random, repeatedly",
        fault="kill",
        targets="engine:all",
        arguments={"every_seconds": [4, 9]},
        bounds=bounds_of(standstill_seconds=40, failures_share=0.8, failing_seconds=30, p50_seconds=30, p99_seconds=90),
    ),
    Play(
        number=2,
        name="engine-hangs",
        summary="an engine is stopped past its session, then continued",
        fault="hang",
        targets="engine",
        seconds=25,
        bounds=bounds_of(standstill_seconds=40, failures_share=0.8, failing_seconds=30, p50_seconds=30, p99_seconds=90),
    ),
    Play(
        number=3,
        name="worker-killed",
        summary="workers are killed in mid-activity, again and again",
        fault="kill-at-work",
        targets="worker:all",
        arguments={"every_seconds": [3, 6], "step_seconds": 0.3},
        bounds=bounds_of(standstill_seconds=60, failures_share=0.5, failing_seconds=20, p50_seconds=45, p99_seconds=90),
    ),
    Play(
        number=4,
        name="gateway-killed",
        summary="gateways are killed and restarted under calls and webhooks",
        fault="kill",
        targets="gateway:all",
        arguments={"every_seconds": [4, 8]},
        bounds=bounds_of(standstill_seconds=40, failures_share=0.8, failing_seconds=30, p50_seconds=30, p99_seconds=90),
    ),
    Play(
        number=5,
        name="leader-killed",
        summary="one of three brokers is killed and stays away: the leader of commands",
        fault="away",
        targets="leader:backbeat.commands",
        seconds=45,
        bounds=(
            Bound(figure="oldest_open_seconds", at_most=120),
            *bounds_of(standstill_seconds=60, failures_share=0.9, failing_seconds=60, p50_seconds=45, p99_seconds=120),
        ),
    ),
    Play(
        number=6,
        name="brokers-away",
        summary="all brokers are away for 30 seconds",
        fault="away",
        targets="broker:all",
        seconds=30,
        silence_seconds_max=120,
        recovery_seconds_max=180,
        bounds=bounds_of(
            standstill_seconds=120, failures_share=0.95, failing_seconds=120, p50_seconds=90, p99_seconds=180
        ),
    ),
    Play(
        number=6,
        name="brokers-away-long",
        summary="all brokers are away for ten minutes",
        fault="away",
        targets="broker:all",
        seconds=600,
        silence_seconds_max=780,
        recovery_seconds_max=300,
        on_request="it takes a quarter of an hour",
        bounds=bounds_of(
            standstill_seconds=780, failures_share=0.95, failing_seconds=780, p50_seconds=700, p99_seconds=800
        ),
    ),
    Play(
        number=7,
        name="network-bad",
        summary="the network between an engine and the brokers is slow, then lossy, then cut one way and the other",
        fault="knob",
        targets="proxy",
        arguments={
            "knob": "proxy",
            "turn_seconds": 8,
            "values": [{"delay_ms": 100}, {"loss": 0.01}, {"cut": "up"}, {}, {"cut": "down"}],
        },
        seconds=40,
        silence_seconds_max=90,
        bounds=bounds_of(
            standstill_seconds=60, failures_share=0.9, failing_seconds=60, p50_seconds=45, p99_seconds=120
        ),
    ),
    Play(
        number=8,
        name="engine-disk-full",
        summary="the disk of an engine's data directory is full",
        fault="disk-full",
        targets="engine-2",
        bounds=bounds_of(standstill_seconds=30, failures_share=0.5, failing_seconds=20, p50_seconds=20, p99_seconds=60),
    ),
    Play(
        number=8,
        name="broker-disk-full",
        summary="the disk of a broker is full",
        fault="disk-full",
        targets="broker-3",
        recovery_seconds_max=180,
        bounds=bounds_of(
            standstill_seconds=60, failures_share=0.9, failing_seconds=60, p50_seconds=45, p99_seconds=120
        ),
    ),
    Play(
        number=9,
        name="memory-short",
        summary="an engine has little more memory than it has taken",
        fault="memory",
        targets="engine",
        arguments={"mebibytes": 4},
        bounds=bounds_of(standstill_seconds=30, failures_share=0.5, failing_seconds=20, p50_seconds=20, p99_seconds=60),
    ),
    Play(
        number=9,
        name="processor-short",
        summary="processor time is taken from the engines: stopped and continued at 10 Hz",
        fault="throttle",
        targets="engine:all",
        bounds=bounds_of(standstill_seconds=40, failures_share=0.5, failing_seconds=20, p50_seconds=30, p99_seconds=60),
    ),
    Play(
        number=10,
        name="endpoints-bad",
        summary="endpoints are slow, hang, answer 500, refuse",
        fault="knob",
        targets="endpoint",
        arguments={
            "knob": "endpoint",
            "turn_seconds": 6,
            "values": [{"mode": "slow", "seconds": 2}, {"mode": "hang"}, {"mode": "error"}, {"mode": "refuse"}],
        },
        seconds=24,
        recovery_seconds_max=180,
        bounds=bounds_of(standstill_seconds=40, failures_share=0.5, failing_seconds=20, p50_seconds=40, p99_seconds=90),
    ),
    Play(
        number=11,
        name="poison",
        summary="one record of a hundred is poison, of every kind",
        fault="poison",
        targets="engine:all",
        arguments={"client": CLIENT, "per_payment": 0.3},
        bounds=bounds_of(standstill_seconds=30, failures_share=0.3, failing_seconds=15, p50_seconds=20, p99_seconds=60),
    ),
    Play(
        number=12,
        name="clock-jumps",
        summary="the clock of an engine's host jumps by an hour, both ways",
        fault="knob",
        targets="engine-2",
        arguments={"knob": "clock", "turn_seconds": 10, "values": [3600, -3600]},
        bounds=bounds_of(standstill_seconds=40, failures_share=0.8, failing_seconds=30, p50_seconds=30, p99_seconds=90),
    ),
    Play(
        number=13,
        name="directory-lost",
        summary="an engine's data directory is lost",
        fault="directory-lost",
        targets="engine",
        seconds=10,
        bounds=bounds_of(
            standstill_seconds=60, failures_share=0.9, failing_seconds=60, p50_seconds=45, p99_seconds=120
        ),
    ),
    Play(
        number=14,
        name="store-damaged",
        summary="files of an engine's stores are truncated, flipped, swapped for old ones",
        fault="store-damage",
        targets="engine",
        arguments={"age_seconds": 6},
        seconds=15,
        bounds=bounds_of(standstill_seconds=30, failures_share=0.5, failing_seconds=20, p50_seconds=20, p99_seconds=60),
    ),
    Play(
        number=15,
        name="engines-come-and-go",
        summary="an engine is added and taken away again, under load",
        fault="come",
        targets="spare",
        arguments={"stay_seconds": 10},
        seconds=60,
        bounds=bounds_of(standstill_seconds=40, failures_share=0.6, failing_seconds=30, p50_seconds=30, p99_seconds=90),
    ),
    Play(
        number=15,
        name="rolling-restart",
        summary="engines are stopped in order and started again, one after the other",
        fault="rolling",
        targets="engine:all",
        arguments={"pause_seconds": 10},
        seconds=25,
        bounds=bounds_of(standstill_seconds=40, failures_share=0.8, failing_seconds=30, p50_seconds=30, p99_seconds=90),
    ),
    Play(
        number=15,
        name="rolling-upgrade",
        summary="engines, gateways and workers of the version before are replaced by today's, one after the other",
        fault="upgrade",
        targets="engine:all,gateway:all,worker:all",
        seconds=90,
        on_request="it begins with the version before: --from-wheel FILE",
        bounds=bounds_of(
            standstill_seconds=60, failures_share=0.9, failing_seconds=60, p50_seconds=45, p99_seconds=120
        ),
    ),
    Play(
        number=16,
        name="overload",
        summary="ten times the payments, for a minute",
        fault="knob",
        targets="generator",
        arguments={"knob": "load", "times": 10},
        seconds=60,
        silence_seconds_max=60,
        # Ten minutes' payments in one, and a machine that is used up by usual load has no time to catch up in.
        recovery_seconds_max=600,
        bounds=bounds_of(
            standstill_seconds=60,
            failures_share=0.9,
            failing_seconds=45,
            p50_seconds=90,
            p99_seconds=180,
            lag_records=200_000,
        ),
    ),
    Play(
        number=17,
        name="client-floods",
        summary="one client floods, by records and by calls; the others' payments take twice as long, or 2 s, at most",
        fault="flood",
        targets="gateway:all",
        arguments={"client": FLOOD_CLIENT, "per_payment": 250, "callers": 200},
        latency_times_max=2.0,
        bounds=bounds_of(
            standstill_seconds=40,
            failures_share=0.9,
            failing_seconds=45,
            p50_seconds=45,
            p99_seconds=120,
            lag_records=200_000,
        ),
    ),
    Play(
        number=18,
        name="coordinator-moves",
        summary="the broker that coordinates the engines' group is killed, while they commit",
        fault="away",
        targets="coordinator:backbeat",
        bounds=bounds_of(
            standstill_seconds=60, failures_share=0.9, failing_seconds=60, p50_seconds=45, p99_seconds=120
        ),
    ),
)


class _Document(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    plays: list[Play] = msgspec.field(name="play")


def all_plays(files: Iterable[Path] = ()) -> list[Play]:
    """The playbook, the plays of entry points, and those of files. PlaybookError."""
    plays = [*PLAYBOOK]
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        value = entry.load()
        plays += [value] if isinstance(value, Play) else list(value)
    for path in files:
        try:
            plays += msgspec.toml.decode(path.read_bytes(), type=_Document).plays
        except OSError as error:
            raise PlaybookError(f"{path} cannot be read: {error.strerror}.") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PlaybookError(f"{path} is no playbook: {error}. What to do: see docs/how-to/drill.md.") from error
    names = [play.name for play in plays]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PlaybookError(f"there is more than one play {twice[0]!r}. What to do: give it another name.")
    for play in plays:
        _check_bounds(play)
    return plays


def _check_bounds(play: Play) -> None:
    """PlaybookError: a bound that nothing could ever be beyond."""
    for bound in play.bounds:
        if not is_figure(bound.figure):
            raise PlaybookError(
                f"the play {play.name!r} has a bound of {bound.figure!r}, which is no figure. What to do: name one of "
                f"{', '.join(FIGURES)}; or, of a role, engines_answering, engine_memory_mebibytes and the like."
            )
        if bound.at_most is None and bound.at_least is None:
            raise PlaybookError(
                f"the play {play.name!r} has a bound of {bound.figure!r} without a value. "
                "What to do: give at_most or at_least."
            )


def choose(plays: list[Play], words: Iterable[str]) -> list[Play]:
    """The plays of these names and numbers, in their order. PlaybookError: there is no such play."""
    chosen = []
    for word in words:
        fitting = [play for play in plays if word in (play.name, str(play.number) if play.number else "")]
        if not fitting:
            raise PlaybookError(f"there is no play {word!r}. To see all: backbeat drill list")
        # A number means those of it that are part of every certificate.
        chosen += [play for play in fitting if play.name == word or not play.on_request] or fitting
    return chosen
