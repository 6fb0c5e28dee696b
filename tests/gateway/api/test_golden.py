"""The transcripts of the original service, replayed by their own player: every one of them passes."""

import subprocess
import sys
from pathlib import Path

import pytest

from backbeat.compose.local.ports import free_port

GOLDEN = Path(__file__).parents[4] / "shared" / "golden"
PLAYER = GOLDEN / "replay.py"
#: All at once; a machine that runs other tests is slow.
SECONDS_MAX = 600

pytestmark = [
    pytest.mark.timeout(SECONDS_MAX + 300),
    pytest.mark.skipif(not PLAYER.exists(), reason=f"the transcripts are not here: {PLAYER}"),
]


def test_every_transcript_passes(stack, tmp_path):
    make_users = f"{sys.executable} {Path(__file__).with_name('webhook_users.py')} {stack.bootstrap_servers}"
    players = [
        *(sys.executable, str(PLAYER), "--base", stack.http_urls[0], "--auth-base", stack.http_urls[1]),
        *("--webhook-port", str(free_port()), "--make-user", make_users, "--jobs", "4", "--patience", "12"),
    ]
    output = tmp_path / "player.txt"
    with output.open("w") as file:
        try:
            code = subprocess.run(
                players, stdout=file, stderr=subprocess.STDOUT, timeout=SECONDS_MAX, check=False, cwd=tmp_path
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
    lines = output.read_text().splitlines()
    passed = [line.split()[1] for line in lines if line.startswith("pass ")]
    others = [line for line in lines if not line.startswith("pass ")]
    scenarios = {path.stem for path in (GOLDEN / "scenarios").glob("*.json")}
    assert code == 0, "\n".join([f"not passed: {sorted(scenarios - set(passed))}", *others])
    assert f"{len(scenarios)} passed, 0 failed" in others
