"""Tower: plays one play after another on an installation under load, and judges it in the end."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from backbeat.compose.drill.capsule.order import make_key, read_key
from backbeat.compose.drill.capsule.remote import CapsuleError, RemoteCapsule, UnfitError
from backbeat.compose.drill.load.rig import Rig
from backbeat.compose.drill.plays.play import Play
from backbeat.compose.drill.report.curves import add_figures
from backbeat.compose.drill.report.kept import bound_outcomes, latency_max
from backbeat.compose.drill.report.result import PlayResult
from backbeat.compose.drill.runs import aborted_by
from backbeat.compose.drill.targets import choose_targets, make_arguments
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Topology, TopologyError
from backbeat.compose.drill.waiting import until
from backbeat.compose.drill.watch.bounds import TIME, Anomaly, agreed, known_before
from backbeat.compose.drill.watch.watch import Watch

#: Load alone before each fault, as what it is compared with.
BEFORE_SECONDS = 6.0
AFTER_SECONDS = 4.0
#: A system that has just begun, or recovered, is slow, which is no normal to compare with: it is measured once payments
#: become quicker no more.
_WARM_SECONDS, _WARM_SECONDS_MAX = 10.0, 60.0
_STEADY_SHARE = 0.8
#: Payments of before are paid by then, or the play begins all the same: its bounds tell.
_SETTLE_SECONDS_MAX = 60.0
_SETTLED_SECONDS = 3.0
#: Longer than any play may take to recover: what has not by then does not.
_RECOVER_SECONDS_MAX = 900.0
#: What a capsule may take to look for what is left.
_CHECK_SECONDS_MAX = 180.0


class Tower:
    """The tower of one run."""

    def __init__(
        self,
        topology: Topology,
        rig: Rig,
        watch: Watch,
        folder: Path,
        *,
        per_second: float,
        seed: int,
        say: Callable[[str], None],
        key_file: Path | None = None,
    ) -> None:
        """`folder`: the run's, with the states of capsules; `key_file`: instead of a key of this run. OrderError."""
        self._topology = topology
        self._rig = rig
        self._watch = watch
        self._folder = folder
        self._key_file = key_file or folder / "key"
        self._key = make_key(self._key_file) if key_file is None else read_key(key_file)
        self._per_second = per_second
        self._chance = random.Random(seed)  # noqa: S311 - a drill is repeated by its seed
        self._say = say
        self._capsules: list[RemoteCapsule] = []
        self._anomaly: Anomaly | None = None

    @property
    def aborted(self) -> str:
        """Name of whoever ended the run; empty: nobody has."""
        return aborted_by(self._folder)

    def play(self, play: Play) -> PlayResult:
        """Play one play."""
        result = PlayResult(play=play)
        try:
            targets = choose_targets(play, self._topology, self._chance)
        except TopologyError as error:
            result.skipped = str(error)
            self._say(f"{play.title}: not played: {error}")
            return result
        result.targets = [target.name for target in targets]
        try:
            self._play(play, targets, result)
        except BaseException:
            # Ctrl-C, or a defect: whatever was injected is taken back before anything else ends.
            self._take_back("it was interrupted")
            raise
        return result

    def wait_recovered(self) -> bool:
        """Wait until whatever was asked for by now is paid. False: it is not in time, whatever a play allows."""
        now = time.monotonic()
        return self._wait(lambda: not self._rig.account.open_before(now), _RECOVER_SECONDS_MAX) or bool(self.aborted)

    def _play(self, play: Play, targets: Sequence[Service], result: PlayResult) -> None:
        self._say(f"{play.title}: {play.summary} ({', '.join(result.targets)}, {play.seconds:g} s)")
        self._wait(self._is_steady, _WARM_SECONDS_MAX)
        self._wait(lambda: self._oldest() < _SETTLED_SECONDS, _SETTLE_SECONDS_MAX)
        before_at = time.monotonic()
        self._wait(lambda: False, BEFORE_SECONDS)
        if reason := self.aborted:
            result.skipped = f"{reason} has aborted the run"
            return
        before = self._watch.between(before_at, time.monotonic())
        bounds = agreed(play.guarded, before)
        ignored = known_before(bounds, before)
        result.ignored = [str(bound) for bound in ignored]
        try:
            self._launch(play, targets)
        except CapsuleError as error:
            self._take_back("another capsule could not begin")
            if isinstance(error, UnfitError):
                result.skipped = str(error)
            else:
                result.failed.append(str(error))
            if left := [line for capsule in self._capsules for line in capsule.state.left or ()]:
                result.failed.append(f"left of the fault: {', '.join(left)}")
            self._say(f"{play.title}: not played: {error}")
            return
        began, result.began_at = time.monotonic(), time.time()
        self._anomaly = None
        in_force = [bound for bound in bounds if bound not in ignored]
        self._watch.guard(in_force, self._alarm)
        ended = self._wait_end()
        self._watch.release()
        result.seconds = ended - began
        self._note_end(result)
        result.recovery_seconds = self._recover(ended, play.recovery_seconds_max)
        self._wait(lambda: False, AFTER_SECONDS)
        now = time.monotonic()
        result.ways = self._rig.account.ways(began, ended)
        result.failures = self._rig.account.failure_kinds(began, now)
        add_figures(result, self._watch.between(before_at, now), began, ended)
        self._judge(result)
        result.bounds = bound_outcomes(result, in_force, self._watch.between(began, ended))
        outcome = "passed" if result.passed else "FAILED: " + "; ".join(result.failed)
        recovery = "" if result.recovery_seconds is None else f", recovered after {result.recovery_seconds:.1f} s"
        self._say(f"{play.title}: {outcome}{recovery}")

    # --- the fault ---------------------------------------------------------------------------------------------------

    def _launch(self, play: Play, targets: Sequence[Service]) -> None:
        by_host: dict[str, list[Service]] = defaultdict(list)
        for target in targets:
            by_host[target.host].append(target)
        self._capsules = [
            RemoteCapsule(
                play.fault,
                there,
                make_arguments(play, self._topology, self._per_second),
                host=self._topology.host(there[0]),
                seconds=play.seconds,
                seed=self._chance.randrange(2**32),
                key=self._key,
                key_file=self._key_file,
                folder=self._folder / "capsules",
            )
            for there in by_host.values()
        ]
        for capsule in self._capsules:
            capsule.launch()

    def _take_back(self, reason: str) -> None:
        """End whatever capsules there are."""
        for capsule in self._capsules:
            try:
                capsule.take_back("the tower", reason, _CHECK_SECONDS_MAX)
            except Exception as error:  # noqa: BLE001 - whatever it was: the others are taken back
                capsule.state.left = [*(capsule.state.left or []), f"it could not be taken back: {error}"]

    def _alarm(self, anomaly: Anomaly) -> None:
        self._anomaly = anomaly
        threads = [
            threading.Thread(target=capsule.abort, args=("the watch", str(anomaly))) for capsule in self._capsules
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _wait_end(self) -> float:
        """Look at the capsules until all have ended their fault, or should have long ago; when that was."""
        is_told = False

        def is_ended() -> bool:
            nonlocal is_told
            self._check()
            if (reason := self.aborted) and not is_told:
                is_told = True
                for capsule in self._capsules:
                    capsule.abort(reason, "the run was aborted")
            states = [capsule.look() for capsule in self._capsules]
            return all(state.ended_at or state.left is not None for state in states)

        until(is_ended, max(each.order.until for each in self._capsules) - time.time() + _CHECK_SECONDS_MAX)
        return time.monotonic()

    def _note_end(self, result: PlayResult) -> None:
        states = [capsule.wait(_CHECK_SECONDS_MAX) for capsule in self._capsules]
        result.capsule = states[0]
        for state in states[1:]:
            result.capsule.notes += state.notes
            result.capsule.left = [*(result.capsule.left or []), *(state.left or [])]
        result.ended_by, result.reason = states[0].ended_by, states[0].reason
        if self._anomaly is not None:
            result.anomaly = str(self._anomaly)
            seen_at = self._anomaly.at + time.time() - time.monotonic()
            result.anomaly_seconds = max(state.ended_at for state in states) - seen_at

    # --- what came of it ---------------------------------------------------------------------------------------------

    def _recover(self, ended: float, seconds_max: float) -> float | None:
        """Seconds from the end of the fault until all that was asked for before is paid; None: not in time."""
        account = self._rig.account
        if not self._wait(lambda: not account.open_before(ended), ended + seconds_max - time.monotonic()):
            return None
        return account.paid_after(ended)

    @staticmethod
    def _judge(result: PlayResult) -> None:
        play, failed = result.play, result.failed
        if result.anomaly:
            failed.append(f"an anomaly ended it: {result.anomaly}")
        elif result.ended_by != "its time":
            failed.append(f"{result.ended_by} ended it: {result.reason}")
        if result.capsule is not None and result.capsule.left:
            failed.append(f"left of the fault: {', '.join(result.capsule.left)}")
        if result.recovery_seconds is None:
            failed.append(f"not all was paid within {play.recovery_seconds_max:g} s of its end")
        for way, figures in result.ways.items():
            if figures.longest_silence_seconds > play.silence_seconds_max:
                failed.append(
                    f"{way}: nothing was taken for {figures.longest_silence_seconds:.1f} s "
                    f"(at most {play.silence_seconds_max:g})"
                )

        if play.latency_times_max:
            before, during, _ = result.medians["p50_seconds"]
            if during > latency_max(play, before):
                times = f"more than {play.latency_times_max:g} times as long"
                failed.append(f"payments took {during:.3g} s, and {before:.3g} s before: {times}")

    def _check(self) -> None:
        """End the run where what watches or keeps it has ended."""
        self._rig.check()
        if self._watch.error is not None:
            raise self._watch.error

    def _is_steady(self) -> bool:
        """True once payments take hardly less time than they did some seconds before."""
        now = time.monotonic()
        samples = self._watch.between(now - _WARM_SECONDS, now)
        if not self._watch.samples or self._watch.samples[0][TIME] > now - _WARM_SECONDS:
            return False
        middle = now - _WARM_SECONDS / 2
        older = [sample["p50_seconds"] for sample in samples if sample[TIME] < middle and "p50_seconds" in sample]
        newer = [sample["p50_seconds"] for sample in samples if sample[TIME] >= middle and "p50_seconds" in sample]
        return not older or not newer or median(newer) >= _STEADY_SHARE * median(older)

    def _oldest(self) -> float:
        samples = self._watch.samples
        return samples[-1].get("oldest_open_seconds", 0.0) if samples and TIME in samples[-1] else 0.0

    def _wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition, or until the run is aborted. False: not in time."""
        is_met = False

        def is_over() -> bool:
            nonlocal is_met
            self._check()
            is_met = condition()
            return is_met or bool(self.aborted)

        until(is_over, seconds)
        return is_met
