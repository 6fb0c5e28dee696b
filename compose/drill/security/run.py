"""Run of the security drill: an installation, attacks on it, payments through it, and the search for secrets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import msgspec

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.show.progress import Say
from backbeat.compose.drill.report.result import RunResult
from backbeat.compose.drill.runs import aborted_by, remove_data, write_result
from backbeat.compose.drill.security import broken_bytes, calls, console, endpoints, leaks, lines, rights
from backbeat.compose.drill.security.attack import Attack
from backbeat.compose.drill.security.installation import SecuredInstallation
from backbeat.compose.drill.security.payments import run_payments

#: In their order: the last of the endpoints' names the network of the payments' endpoint.
ATTACKS: Sequence[Attack] = (
    *lines.ATTACKS,
    *rights.ATTACKS,
    *calls.ATTACKS,
    *console.ATTACKS,
    *broken_bytes.ATTACKS,
    *endpoints.ATTACKS,
)


def run(folder: Path, *, command: str = "", say: Say) -> RunResult:
    """Make all attacks, one after another, unless somebody aborts the run; the folder keeps the result."""
    result = RunResult(
        id=folder.name,
        began_at=time.time(),
        version=metadata.version("backbeat"),
        setup={"brokers": 1, "engines": 1, "gateways": 1, "workers": 2},
        command=command,
    )
    write_result(folder, result)
    stage = folder / "stage"
    try:
        say(f"starting a broker that asks who comes, an engine and a gateway in {stage}")
        with SecuredInstallation(stage, say=say) as installation:
            for attack in ATTACKS:
                if aborter := aborted_by(folder):
                    result.aborted = aborter
                    return result
                say(f"{attack.area}: {attack.name}")
                result.promises.append(attack.result(installation))
            say("payments over the SDK, a topic and HTTPS")
            try:
                result.totals = run_payments(installation, folder)
            except SetupError as error:
                result.failed.append(str(error))
            result.failed += _unpaid(result)
            say("secrets: searching for them")
            result.promises.append(leaks.attack(msgspec.json.encode(result)).result(installation))
    finally:
        result.ended_at = time.time()
        remove_data(stage)
        write_result(folder, result)
    return result


def _unpaid(result: RunResult) -> list[str]:
    """Lines about payments that were lost, or paid by two nodes."""
    counts = {"taken and not paid": result.totals.lost, "paid by two nodes": result.totals.paid_twice}
    return [f"{count} payments were {outcome}" for outcome, count in counts.items() if count]
