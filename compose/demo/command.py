"""`backbeat demo`: a real Kafka, an engine, a worker; six cases, drawn while they run, checked when they settled."""

import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING

import click

from backbeat.compose.cli.errors import SetupError

if TYPE_CHECKING:
    from backbeat.compose.demo.screen import Screen
    from backbeat.compose.local.stack import Stack

#: Bound of the whole demo, set-up apart. Each part has a bound of its own; this one ends what nobody thought of.
_SECONDS_MAX = 285.0


@click.command(epilog="Example: backbeat demo --plain")
@click.option("--plain", is_flag=True, help="Plain lines, as without a terminal: nothing is drawn in place.")
def demo(*, plain: bool) -> None:
    """Show it at work on a real Kafka: six cases, each checked. Ends by itself; exit code 0 if all checks hold.

    Everything runs in a temporary directory that is removed at the end.
    """
    from backbeat.compose.cli.show.progress import Progress
    from backbeat.compose.demo.screen import Screen
    from backbeat.compose.local.jars.class_archive import prepare_kafka
    from backbeat.compose.local.stack import Stack

    began_at = time.monotonic()
    # A shell that starts it in the background has SIGINT ignored; its sender means it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    screen = Screen(plain=plain)
    progress = Progress("starting Kafka and an engine", screen.say)
    stack = Stack(ephemeral=True, say=progress.say)
    try:
        prepare_kafka(screen.say)
        screen.say("Starting Kafka and an engine in a temporary directory …")
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(stack.stop)
            with progress:
                stack.start()
            screen.say(
                f"Ready after {time.monotonic() - began_at:.1f} s: Kafka at {stack.bootstrap_servers}, "
                f"engine pid {stack.engine_pids[0]}."
            )
            failures, check_count = asyncio.run(_run(stack, screen))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise SetupError("the demo was interrupted.") from None
    except TimeoutError as error:
        raise SetupError(f"the demo was not done within {_SECONDS_MAX:.0f} s.") from error
    seconds = time.monotonic() - began_at
    screen.say("")
    if failures:
        failure_lines = "\n".join(f"  ✗ {failure}" for failure in failures)
        raise SetupError(f"{len(failures)} of {check_count} checks failed, after {seconds:.0f} s:\n{failure_lines}")
    screen.say(f"All {check_count} checks hold. {seconds:.0f} s in all.", "bold green")
    screen.say("Next: `backbeat dev` keeps it running; the worker of this demo is compose/demo/worker.py.")


async def _run(stack: "Stack", screen: "Screen") -> tuple[list[str], int]:
    from backbeat.compose.demo.cases import CASES
    from backbeat.compose.demo.setup import DemoSetup

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(_SECONDS_MAX):
        setup = DemoSetup(stack, screen)
        setup.worker.start()
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(setup.worker.stop)
            async with setup.client:
                for case in CASES:
                    await case(setup)
        return setup.failures, setup.check_count
