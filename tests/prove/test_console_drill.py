"""A drill that is begun in the console is played to its end, on three brokers of its own, and its page has it all."""

from __future__ import annotations

from pathlib import Path

import pytest

from backbeat.compose.local.ports import free_port
from backbeat.compose.local.stack import Stack
from backbeat.gateway.console.pages.operations.drill_runs import Run, read_run
from tests.gateway.console.browser import Tab, chromium
from tests.gateway.console.desk import Desk
from tests.waiting import until

SECONDS_MAX = 2_400.0
PLAY = "worker-killed"

pytestmark = [pytest.mark.prove, pytest.mark.integration]


def test_a_drill_begun_in_the_console_is_played_to_its_end(tmp_path: Path):
    runs = tmp_path / "runs"
    arguments = ["--ui=on", "--ui-login=none", f"--ui-drills={runs}", "--ui-drill-topology=here"]
    with Stack(ephemeral=True, partitions=2, gateways=[arguments], http_port=free_port()) as stack:
        desk = Desk(stack.http_urls[0])
        fields = {"on": "here", f"play:{PLAY}": "on", "seconds": "8", "reason": "to see whether it is played"}
        answer = desk.send("drills/begin", {**desk.hidden("drills/begin?on=here"), **fields})
        assert answer.status == 303, answer.text
        name = answer.headers["location"].partition("?")[0]
        until(lambda: "under way" not in desk.get(f"drills/{name}").text, "the run is over", SECONDS_MAX)

        run = read_run(runs, name, Run)
        assert run is not None
        assert (run.has_ended, run.played, run.failed) == (True, 1, []), (runs / name / "output").read_text()
        text = desk.get(f"drills/{name}").text
        print(text)
        assert "1 of 1 plays kept their bounds" in text
        assert "to see whether it is played" in text
        with chromium() as browser:
            tab = Tab(browser, f"{stack.http_urls[0]}/ui/", java_script_enabled=False)
            tab.open(f"drills/{name}")
            assert tab.page.locator(".curve").count() >= 3
            assert tab.page.locator(".curve polyline").count() >= 3
            tab.page.screenshot(path=str(tmp_path / "drill.png"), full_page=True)
            assert tab.complaints == []
        audit = desk.get("audit").text
        assert f"done: run {name}" in audit
