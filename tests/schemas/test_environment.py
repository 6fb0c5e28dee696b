"""Variables of the environment that nothing reads: every process says so, and goes on."""

import os
import subprocess
import sys

import pytest

from backbeat.schemas.environment import KNOWN, unknown

SLIP = {"BACKBEAT_TRANSACTION_TIMEOUT_SECOND": "30"}
SENTENCE = "BACKBEAT_TRANSACTION_TIMEOUT_SECOND (did you mean BACKBEAT_TRANSACTION_TIMEOUT_SECONDS?)"


def test_the_nearest_name_is_said_for_each():
    warning = unknown({**SLIP, "BACKBEAT_LOG_FROMAT": "text", "BACKBEAT_FROBNICATE": "1", "HOME": "/"})
    assert warning is not None
    assert SENTENCE in warning
    assert "BACKBEAT_LOG_FROMAT (did you mean BACKBEAT_LOG_FORMAT?)" in warning
    assert "BACKBEAT_FROBNICATE," in warning


def test_what_is_known_and_what_kubernetes_sets_is_passed_over():
    services = {
        "BACKBEAT_GATEWAY_PORT": "tcp://10.0.0.1:9292",
        "BACKBEAT_GATEWAY_PORT_9292_TCP": "tcp://10.0.0.1:9292",
        "BACKBEAT_GATEWAY_PORT_9292_TCP_ADDR": "10.0.0.1",
        "BACKBEAT_GATEWAY_SERVICE_HOST": "10.0.0.1",
        "BACKBEAT_GATEWAY_SERVICE_PORT_HTTP": "9292",
    }
    assert unknown({**dict.fromkeys(KNOWN, "1"), **services, "BACKBEATEN": "1"}) is None
    assert "BACKBEAT_HTPP_PORT (did you mean BACKBEAT_HTTP_PORT?)" in (unknown({"BACKBEAT_HTPP_PORT": "9292"}) or "")


#: Nobody listens there.
NOWHERE = "127.0.0.1:1"
PROGRAMS = {
    "a command": (["settings", "shoe"], 2),
    "an engine": (["engine", "--instance-id", "a", "--bootstrap-servers", NOWHERE, "--stall-timeout-seconds", "-1"], 2),
    "a worker": (["worker", "no.such.module"], 2),
    "a server's log": ("from backbeat.streams.observe import logs; logs.to_stderr('json')", 0),
    "a client": ("import backbeat; backbeat.PlainClient('127.0.0.1:1', timeout=0.1).start()", 1),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_process_says_it_once_and_ends_as_it_would(program, tmp_path):
    arguments, code = PROGRAMS[program]
    command = ["-c", arguments] if isinstance(arguments, str) else ["-m", "backbeat.compose", *arguments]

    def run(**env: str) -> "subprocess.CompletedProcess[str]":
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BACKBEAT_")}
        return subprocess.run(
            [sys.executable, *command], env=clean | env, cwd=tmp_path, capture_output=True, text=True, timeout=180,
            check=False,
        )  # fmt: skip

    with_slip, without = run(**SLIP), run()
    assert with_slip.stderr.count(SENTENCE) == 1
    assert "read by nothing" not in without.stderr
    assert with_slip.returncode == without.returncode == code
    assert with_slip.stdout == without.stdout
