"""Services discovered among a namespace's pods, of an answer that a Kubernetes API server (1.36) has given.

In it an engine is about to be ended, another is pending, one gateway runs and one was evicted.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from backbeat.compose.cli.program import backbeat
from backbeat.compose.drill.topology.file import read_topology
from backbeat.compose.drill.topology.needs import with_needs
from backbeat.compose.drill.topology.pods import Namespace, services_of
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import TopologyError
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
