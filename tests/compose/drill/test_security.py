"""The security drill: every promise is kept, and an attack on an installation without its protection succeeds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner

from backbeat.compose.cli.program import backbeat
from backbeat.compose.drill.load.payments import CLIENT
from backbeat.compose.drill.report.page import render
from backbeat.compose.drill.report.result import PromiseResult, RunResult
from backbeat.compose.drill.runs import write_result
from backbeat.compose.drill.security import broken_bytes, leaks, lines
from backbeat.compose.drill.security.broker import ADMIN
from backbeat.compose.drill.security.installation import GATEWAY, RIVAL, RIVAL_SERVICE, USERS, SecuredInstallation
from backbeat.compose.drill.security.run import ATTACKS
from backbeat.compose.drill.security.trap import ELSEWHERE, Trap
from backbeat.compose.local.ports import LOOPBACK
from backbeat.schemas.kafka.security import KafkaSecurity

ROOT = Path(__file__).parents[3]
#: Of SECURITY.md's rows the one that no attack is about: `make audit` asks the network.
NO_ATTACK = {"packages"}
RIVALS = [user for user in USERS if user.startswith("rival")]
#: Options of a gateway that protects nobody.
OPEN = ("--require-auth-token=none", "--endpoint-networks=any", "--ui=on", "--ui-login=none")
#: Attacks that succeed there.
SUCCEED = [
    *(attack.name for attack in ATTACKS if attack.area == "brokers"),
    *("no token", "wrong token", "no session", "webhook to a private address by a name"),
]
_RUN_SECONDS_MAX = 570


def attack_of(name):
    (attack,) = (attack for attack in ATTACKS if attack.name == name)
    return attack


def test_every_row_of_promises_is_attacked():
    promised = (ROOT / "SECURITY.md").read_text().partition("## What is promised")[2].partition("\n## ")[0]
    rows = set(re.findall(r"^\| (\w+) \|", promised, re.MULTILINE))
    assert len(rows) > 5
    assert {attack.area for attack in (*ATTACKS, leaks.attack(b""))} == rows - NO_ATTACK


def test_a_broken_promise_fails_the_run_and_is_told_in_every_report(tmp_path):
    kept = PromiseResult(area="lines", attack="wrong <password>", promise="kept out", is_kept=True, evidence="told")
    broken = PromiseResult(
        area="lines", attack="none at all", promise="kept out", is_kept=False, evidence="it was let in"
    )
    run = RunResult(id="20261129-171500", began_at=0.0, promises=[kept, broken])
    assert not run.passed
    (tmp_path / run.id).mkdir()
    write_result(tmp_path / run.id, run)
    text = CliRunner().invoke(backbeat, ["drill", "report", "--folder", str(tmp_path)]).output
    assert "lines: kept out" in text
    assert "✓ wrong <password>: kept" in text
    assert "✗ none at all: BROKEN\n      it was let in" in text
    assert "FAILED: 1 of 2 attacks were withstood" in text
    page = render(run, "html")
    assert "wrong &lt;password&gt;" in page
    assert "it was let in" in page
    assert RunResult(id="r", began_at=0.0, promises=[kept]).passed


@pytest.mark.integration
def test_every_promise_is_kept(tmp_path):
    command = [sys.executable, "-m", "backbeat.compose", "drill", "security", "--json", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_RUN_SECONDS_MAX, check=False)
    assert done.stdout, done.stderr
    result = json.loads(done.stdout)
    assert [each for each in result["promises"] if not each["is_kept"]] == []
    assert result["failed"] == []
    assert done.returncode == 0
    assert [each["attack"] for each in result["promises"]] == [
        *(attack.name for attack in ATTACKS),
        "search for secrets",
    ]
    totals = result["totals"]
    assert (totals["lost"], totals["paid_twice"]) == (0, 0)
    assert totals["asked"] == totals["taken"] == totals["completed"] > 15
    (run,) = tmp_path.iterdir()
    assert "search for secrets" in (run / "report.html").read_text()
    assert [path.name for path in (run / "stage").iterdir()] == ["log"]


@pytest.fixture(scope="module")
def open_installation(tmp_path_factory):
    """An installation that promises nothing: whoever comes may do everything."""
    with SecuredInstallation(tmp_path_factory.mktemp("open"), protection=OPEN) as installation:
        for user in RIVALS:
            installation.run("acls", "operator", "--principal", f"User:{user}", "--apply", user=ADMIN)
        yield installation


@pytest.mark.integration
@pytest.mark.parametrize("name", SUCCEED)
def test_an_attack_succeeds_where_nothing_protects(open_installation, name):
    result = attack_of(name).result(open_installation)
    assert not result.is_kept, result.evidence
    assert "could not be tried" not in result.evidence
    assert "another reason" not in result.evidence


@pytest.mark.integration
@pytest.mark.parametrize("name", ["brokers of another authority", "gateway of another authority"])
def test_whoever_trusts_the_authority_is_let_in(open_installation, name, monkeypatch):
    monkeypatch.setattr(open_installation.broker, "stranger", open_installation.broker.authority)
    assert not attack_of(name).result(open_installation).is_kept


@pytest.mark.integration
@pytest.mark.parametrize(
    "name",
    [
        "no credentials",
        "plain text at a listener that encrypts",
        "wrong password",
        "no certificate where one is asked for",
        "brokers of another name",
    ],
)
def test_brokers_that_let_in_whoever_comes_are_noticed(open_installation, name, monkeypatch):
    monkeypatch.setattr(lines, "reach", lambda brokers: brokers)
    result = attack_of(name).result(open_installation)
    assert not result.is_kept
    assert result.evidence.endswith("lets in whoever comes so")


@pytest.mark.integration
def test_a_password_that_goes_over_an_open_line_is_noticed(open_installation, monkeypatch):
    read = KafkaSecurity.of
    monkeypatch.setattr(KafkaSecurity, "of", lambda texts: read({**texts, "SECURITY_PROTOCOL": "SASL_PLAINTEXT"}))
    result = attack_of("password over an open line").result(open_installation)
    assert not result.is_kept
    assert "no TLS handshake" in result.evidence


@pytest.mark.integration
def test_a_gateway_that_answers_without_https_is_noticed(open_installation, monkeypatch):
    with Trap() as plain:
        monkeypatch.setattr(open_installation, "gateway_port", plain.port)
        result = attack_of("gateway without HTTPS").result(open_installation)
    assert not result.is_kept
    assert result.evidence == "over HTTP the gateway answers with 307"


@pytest.mark.integration
@pytest.mark.parametrize("name", ["read another's activities, over HTTP", "signal as another, over HTTP"])
def test_a_gateway_that_takes_one_client_for_another_is_noticed(open_installation, name, monkeypatch):
    call = open_installation.http
    monkeypatch.setattr(open_installation, "http", lambda client="": call(CLIENT if client == RIVAL else client))
    result = attack_of(name).result(open_installation)
    assert not result.is_kept
    assert re.search(r" is answered with 20\d$", result.evidence)


@pytest.mark.integration
def test_what_is_taken_though_it_is_no_record_is_noticed(open_installation, monkeypatch):
    signal = {"workflow": "Attacked", "subject": "s", "decider": "D", "signal": "Attacked", "name": "Attacked"}
    body = json.dumps(signal).encode()
    monkeypatch.setattr(broken_bytes, "_BODIES", (body,))
    monkeypatch.setattr(broken_bytes, "_CONTENTS", (json.dumps(signal | {"name": None}).encode(),) * 100)
    monkeypatch.setattr(broken_bytes, "_LETTERS_SECONDS_MAX", 1.0)
    over_http = attack_of("broken bodies over HTTP").result(open_installation)
    assert not over_http.is_kept
    assert "201" in over_http.evidence
    on_a_topic = attack_of("broken records on a topic").result(open_installation)
    assert not on_a_topic.is_kept
    assert "of 100 records that are none" in on_a_topic.evidence


@pytest.mark.integration
def test_a_redirect_that_is_followed_is_noticed(open_installation):
    httpx2.post(f"http://{LOOPBACK}:{open_installation.trap.port}{ELSEWHERE}", trust_env=False)
    result = attack_of("redirect").result(open_installation)
    assert not result.is_kept
    assert result.evidence.startswith("a redirect was followed")


@pytest.mark.integration
def test_a_secret_in_a_log_or_an_output_is_noticed(open_installation):
    log = open_installation.folder / "log" / "leaking.log"
    log.write_text(f"logged in with {open_installation.broker.passwords[RIVAL_SERVICE]!r}\n")
    report = open_installation.clients[RIVAL].token.encode()
    evidence = leaks.attack(report).result(open_installation).evidence
    log.unlink()
    assert evidence.startswith("2 times: ")
    assert f"password of {RIVAL_SERVICE} in leaking.log" in evidence
    assert "token of rival in report" in evidence


@pytest.mark.integration
def test_a_gateway_that_ends_by_broken_bytes_is_noticed(open_installation):
    open_installation.parts[GATEWAY].stop()
    result = attack_of("broken bytes at the gateway's socket").result(open_installation)
    assert not result.is_kept
    assert "the gateway has ended" in result.evidence
