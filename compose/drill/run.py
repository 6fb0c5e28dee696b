"""Run: installation, load, watch and tower put together; its result is kept, whatever happens on the way."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from backbeat import BackbeatError
from backbeat.compose.drill.load.closing import unclosed
from backbeat.compose.drill.load.retention import KEEP_SECONDS, keep_briefly, keep_for_ever
from backbeat.compose.drill.load.rig import Rig
from backbeat.compose.drill.plays.play import Play
from backbeat.compose.drill.plays.soak import draw, until_over
from backbeat.compose.drill.report.result import RunResult
from backbeat.compose.drill.report.words import crashes, words_of
from backbeat.compose.drill.runs import remove_data, write_result
from backbeat.compose.drill.topology.keeper import Keeper
from backbeat.compose.drill.topology.stage import Stage
from backbeat.compose.drill.topology.topology import Topology
from backbeat.compose.drill.topology.versions import with_versions
from backbeat.compose.drill.tower import Tower
from backbeat.compose.drill.watch.direct import DirectSource
from backbeat.compose.drill.watch.footprint import Footprint, grown
from backbeat.compose.drill.watch.prometheus import PrometheusSource
from backbeat.compose.drill.watch.scrape import Scrape
from backbeat.compose.drill.watch.watch import Watch
from backbeat.compose.local.ports import LOOPBACK
from backbeat.compose.verify.judge import Judge
from backbeat.compose.verify.log import Topics

_PAID_SECONDS_MAX = 240.0
_CLOSE_SECONDS_MAX = 60.0


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """Setup of a run."""

    brokers: int = 3
    engines: int = 2
    gateways: int = 2
    workers: int = 2
    partitions: int = 4
    per_second: float = 8.0
    seed: int = 0
    #: a Kafka that is there, instead of brokers; the rest is started here
    bootstrap_servers: str = ""
    #: of this host, where the load's endpoint listens, and under which gateways post to it
    listen_address: str = LOOPBACK
    #: of the version before, as which engines and gateways begin; empty: this one
    from_wheel: str = ""
    #: plays are drawn for so long, and what is stored and used must stay flat; 0: no soak
    soak_seconds: float = 0.0


def run(
    plays: Sequence[Play],
    setup: Setup,
    folder: Path,
    *,
    installation: Topology | None = None,
    command: str = "",
    key_file: Path | None = None,
    say: Callable[[str], None],
) -> RunResult:
    """Play all plays, on what is started here or on an installation that is there; the folder keeps the result.

    A soak draws from them by its seed. What does not recover from a play gets no other.

    `key_file`: the key that hosts which are reached by a command have a copy of; none: one is made for the run.
    """
    result = RunResult(id=folder.name, began_at=time.time(), setup=msgspec.to_builtins(setup), command=command)
    # There is a folder from now on; it has a result even where the run is cut off.
    write_result(folder, result)
    with _installation(setup, folder, installation, say) as (topology, keeper, python_before):
        say(f"{len(topology.services)} services; starting the load, {setup.per_second:g} payments a second")
        rig = Rig(
            folder,
            keeper,
            bootstrap_servers=topology.bootstrap_servers,
            gateways=[each.metrics_url.removesuffix("/metrics") for each in topology.of_role("gateway")],
            per_second=setup.per_second,
            workers=setup.workers,
            partitions=setup.partitions,
            plain=installation is None and not setup.bootstrap_servers,
            listen_address=setup.listen_address,
            python_before=python_before,
        )
        rig.start()
        whole = with_versions(topology.with_services([*topology.services.values(), *rig.services]))
        if installation is not None:
            result.setup |= {f"{role}s": len(installation.of_role(role)) for role in ("broker", "engine", "gateway")}
        versions = {service.version for service in whole.services.values()} - {""}
        result.version = ", ".join(sorted(versions))
        result.services = [
            dict(zip(("service", "role", "host", "version", "metrics", "depends_on"), row, strict=True))
            for row in list(whole.table())[1:]
        ]
        source = PrometheusSource(whole.metrics) if whole.metrics else DirectSource()
        watch = Watch(rig.account, Scrape(whole.services.values(), source))
        watch.start()
        try:
            tower = Tower(
                whole, rig, watch, folder, per_second=setup.per_second, seed=setup.seed, say=say, key_file=key_file
            )
            with _soak(setup, topology.bootstrap_servers, whole, result):
                for play in _drawn(plays, setup):
                    if tower.aborted:
                        break
                    result.plays.append(tower.play(play))
                    write_result(folder, result)
                    if setup.soak_seconds and not tower.wait_recovered():
                        result.failed.append(f"it did not recover from {play.name}: nothing more was played")
                        break
            result.aborted = tower.aborted
            _end(result, rig, topology.bootstrap_servers, say)
        finally:
            watch.stop()
            result.ended_at = time.time()
            result.words = words_of(whole, keeper.parts, result.ended_at - result.began_at)
            result.failed += crashes(result.words)
            write_result(folder, result)
    return result


def _drawn(plays: Sequence[Play], setup: Setup) -> Iterable[Play]:
    """All plays in their order; of a soak those that are drawn until its time is over."""
    if not setup.soak_seconds:
        return plays
    chance = random.Random(setup.seed)  # noqa: S311 - a soak is repeated by its seed
    return until_over(draw(plays, chance), setup.soak_seconds)


@contextlib.contextmanager
def _soak(setup: Setup, servers: str, topology: Topology, result: RunResult) -> Iterator[None]:
    """Surroundings of a soak: ended payments are removed, and nothing of the installation may grow."""
    if not setup.soak_seconds:
        yield
        return
    keep_briefly(servers)
    footprint = Footprint(topology.services.values())
    footprint.start()
    try:
        yield
    finally:
        footprint.stop()
        result.footprint = footprint.fifths()
        result.failed += grown(result.footprint)
        try:
            # The next run on this installation asks for its payments when they are complete.
            keep_for_ever(servers)
        except BackbeatError as error:
            result.failed.append(f"payments are still removed {KEEP_SECONDS:g} s after their end: {error}")


@contextlib.contextmanager
def _installation(
    setup: Setup, folder: Path, installation: Topology | None, say: Callable[[str], None]
) -> Iterator[tuple[Topology, Keeper, Path | None]]:
    """The installation, the keeper of what is started for the run, and the Python of the version before, if it is."""
    if installation is not None:
        keeper = Keeper()
        keeper.start()
        try:
            yield installation, keeper, None
        finally:
            keeper.stop()
        return
    say(f"starting {setup.brokers} brokers, {setup.engines} engines, {setup.gateways} gateways in {folder}")
    stage = Stage(
        folder / "stage",
        brokers=setup.brokers,
        engines=setup.engines,
        gateways=setup.gateways,
        partitions=setup.partitions,
        bootstrap_servers=setup.bootstrap_servers or None,
        wheel=Path(setup.from_wheel) if setup.from_wheel else None,
        say=say,
    )
    try:
        with stage:
            yield stage.topology, stage.keeper, stage.python_before
    finally:
        remove_data(stage.folder)


def _end(result: RunResult, rig: Rig, servers: str, say: Callable[[str], None]) -> None:
    """Ask for nothing more, wait for what is open, and have the judge look at all of it."""
    say("asking for nothing more; waiting until all is paid")
    rig.stop_asking()
    rig.wait_paid(_PAID_SECONDS_MAX)
    result.totals = totals = rig.account.totals()
    if totals.lost:
        result.failed.append(f"{totals.lost} payments that were taken are not paid: {', '.join(totals.examples_lost)}")
    if totals.paid_twice:
        result.failed.append(f"{totals.paid_twice} payments were paid by two nodes")
    if totals.asked > totals.taken:
        result.failed.append(f"{totals.asked - totals.taken} payments were never taken")
    is_removed = bool(result.setup["soak_seconds"])
    if open_payments := unclosed(servers, rig.account.roots(), _CLOSE_SECONDS_MAX, is_removed=is_removed):
        examples = ", ".join(f"{name} is {status}" for name, status in list(open_payments.items())[:5])
        result.failed.append(f"{len(open_payments)} payments were paid, and are not complete: {examples}")
    say("the judge reads all commands")
    verdict = Judge(Topics(servers), lambda _: None).run()
    result.verdict = _compact(verdict.as_json())
    result.verdict_lines = list(verdict.lines())
    if not verdict.agrees:
        result.failed.append(f"the judge: {result.verdict_lines[-1]}")


def _compact(verdict: dict[str, Any]) -> dict[str, Any]:
    """The verdict without the content of commands: payloads are nobody's business in a report."""
    return {name: value for name, value in verdict.items() if name not in ("commands", "differences", "sends")}
