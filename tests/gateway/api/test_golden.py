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
    make_users = f"{sys.executable} -m backbeat.compose user import - --bootstrap-servers {stack.bootstrap_servers}"
    players = [
        *(sys.executable, str(PLAYER), "--base", stack.http_urls[0], "--auth-base", stack.http_urls[1]),
        *("--webhook-port", str(free_port()), "--make-user", make_users, "--jobs", "4", "--patience", "12"),
    ]
    played = subprocess.run(players, capture_output=True, text=True, timeout=SECONDS_MAX, check=False, cwd=tmp_path)
    others = [line for line in played.stdout.splitlines() if not line.lstrip().startswith("pass ")]
    assert played.returncode == 0, "\n".join([*others, played.stderr])
    scenarios = len(list((GOLDEN / "scenarios").glob("*.json")))
    assert f"{scenarios} passed, 0 failed" in played.stdout
