"""Services discovered among a namespace's pods, of an answer that a Kubernetes API server (1.36) has given.

In it an engine is about to be ended, another is pending, one gateway runs and one was evicted.
"""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from backbeat.compose.cli.program import backbeat
from backbeat.compose.drill.faults.catalogue import make_fault
from backbeat.compose.drill.faults.fault import FaultError
from backbeat.compose.drill.report.result import RunResult
from backbeat.compose.drill.report.text import text_lines
from backbeat.compose.drill.report.words import words_of
from backbeat.compose.drill.topology.file import read_topology
from backbeat.compose.drill.topology.needs import with_needs
from backbeat.compose.drill.topology.pods import Namespace, services_of
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Host, Topology, TopologyError
from backbeat.compose.local.ports import LOOPBACK, free_port

ANSWER = Path(__file__).with_name("pods.json").read_bytes()
STAGING = Namespace(name="backbeat-staging", context="staging")
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://%s:%d"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: staging, context: {cluster: c, user: u}}]
current-context: staging
"""


def test_pods_are_services():
    engine, gateway = services_of(ANSWER, STAGING)
    assert (engine.name, engine.role, engine.host) == ("backbeat-engine-1", "engine", "node-2")
    # A name that it keeps when it comes back with another address.
    assert engine.metrics_url == "http://backbeat-engine-1.backbeat-engine.backbeat-staging.svc:9301/metrics"
    assert (gateway.name, gateway.role) == ("backbeat-gateway-7d9c5b8f6-aaaaa", "gateway")
    assert gateway.metrics_url == "http://10.1.0.14:9292/metrics"
    named = with_needs([engine, gateway], [Service(name="kafka-1", role="broker")])
    assert [service.depends_on for service in named] == [("broker",), ("broker", "engine")]


def test_only_pods_that_come_back_under_their_name_are_given_signals():
    engine, gateway = services_of(ANSWER, STAGING)
    words = ("kubectl", "--context", "staging", "--namespace", "backbeat-staging", "delete", "pod", "backbeat-engine-1")
    assert engine.signals["SIGTERM"][: len(words)] == words
    assert engine.signals["SIGKILL"][-2:] == ("--force", "--grace-period=0")
    assert (engine.takes(signal.SIGKILL), engine.takes(signal.SIGSTOP)) == (True, False)
    assert not gateway.takes(signal.SIGKILL)
    log = (*words[:-3], "logs", "backbeat-engine-1", "--all-containers", "--since={seconds}s")
    assert engine.log_command == log


@pytest.mark.parametrize(("fault", "refusal"), [
    ("hang", "backbeat-engine-1 cannot be given SIGSTOP: it is a pod"),
    ("throttle", "backbeat-engine-1 cannot be given SIGSTOP: it is a pod"),
    ("away", "backbeat-engine-1 cannot be kept away: it is a pod"),
    ("come", "backbeat-engine-1 cannot be kept away: it is a pod"),
    ("memory", "the memory of backbeat-engine-1 cannot be bounded: it is a pod"),
    ("disk-full", "no data_dir of backbeat-engine-1: it is a pod"),
    ("directory-lost", "no data_dir of backbeat-engine-1: it is a pod"),
    ("store-damage", "no data_dir of backbeat-engine-1: it is a pod"),
    ("kill-at-work", None),
])  # fmt: skip
def test_what_cannot_be_done_to_a_pod_is_refused_and_why(tmp_path, fault, refusal):
    engine, _ = services_of(ANSWER, STAGING)
    made = make_fault(fault, {"folder": str(tmp_path), "order": "o"}, [engine], random.Random(1))
    if refusal is None:
        made.inject()
        return
    with pytest.raises(FaultError, match=refusal):
        made.inject()


@pytest.mark.parametrize("fault", ["away", "come"])
def test_a_service_without_stop_and_start_is_not_kept_away(fault):
    service = Service(name="shop", role="shop", pid_file="/nowhere/pid")
    with pytest.raises(FaultError, match="shop cannot be kept away: the topology has no stop and start of it"):
        make_fault(fault, {}, [service], random.Random(1)).inject()


def test_what_services_said_is_asked_for_where_it_is_no_file_here(tmp_path):
    services = [
        Service(name="unit", role="x", host="app-1", log_command=("WARNING in {seconds}s\\n",)),
        Service(name="file", role="x", log=str(tmp_path / "log")),
        Service(name="gone", role="x", log=str(tmp_path / "gone")),
        Service(name="closed", role="x", log_command=("sh", "-c", "echo no right >&2; exit 1")),
        Service(name="silent", role="x"),
    ]
    (tmp_path / "log").write_text("2026-11-30T10:00:00Z ERROR 17 of 20\n2026-11-30T10:00:01Z INFO fine\n")
    words = words_of(Topology(services, [Host(name="app-1", run=("printf",))]), [], 59.2)
    assert [each.service for each in words] == [service.name for service in services]
    assert [each.lines for each in words[:2]] == [["1 times: WARNING in 60s"], ["1 times: ERROR 17 of 20"]]
    assert [each.unknown for each in words] == [
        "",
        "",
        f"there is no log {tmp_path / 'gone'} on this machine",
        "its log cannot be read by `sh -c 'echo no right >&2; exit 1'`: no right",
        "what it said is not known: the topology has neither log nor log_command of it",
    ]
    lines = list(text_lines(RunResult(id="r", began_at=0.0, words=words)))
    assert f"  silent: {words[4].unknown}" in lines


def test_a_cluster_that_cannot_be_asked_is_said(tmp_path, monkeypatch):
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(KUBECONFIG % (LOOPBACK, free_port()))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    with pytest.raises(TopologyError, match=r"the pods of the namespace staging cannot be read: .*kubectl --namespace"):
        read_topology(None, namespaces=["staging"])
    # Neither a kubeconfig nor a pod.
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "other"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    asked = CliRunner().invoke(backbeat, ["drill", "list", "--namespace", "staging"])
    assert (asked.exit_code, "cannot be read: ConfigException" in asked.output) == (2, True), asked.output
