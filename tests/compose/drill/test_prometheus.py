"""Metrics of a Prometheus server as what the watch looks at: a real server, which scrapes real exporters."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from backbeat.compose.cli.program import backbeat
from backbeat.compose.drill.topology.direct import open_directly
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.watch.prometheus import PrometheusError, PrometheusSource, _by_place, _name_of, check_server
from backbeat.compose.drill.watch.scrape import RATE_SECONDS_MIN, Scrape
from backbeat.compose.local.ports import LOOPBACK, free_port
from tests.waiting import until

CONFIG = """
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: backbeat-engine
    static_configs: [{targets: [%s]}]
  - job_name: pods
    static_configs:
      - targets: ["%s"]
        labels: {pod: engine-3, namespace: staging}
      - targets: ["%s"]
        labels: {pod: engine-3, namespace: production}
"""


class Exporter:
    """A process's metrics, in the names of an engine."""

    def __init__(self):
        registry = CollectorRegistry()
        names = ["machine", "status"]
        self.completed = Counter("backbeat_engine_status_changes", "x", names, registry=registry)
        self.completed = self.completed.labels("server", "complete")
        self.lag = Gauge("backbeat_engine_lag_records", "x", ["partition"], registry=registry)
        self.lag.labels("0").set(7)
        self.port = free_port()
        self.server, self.thread = start_http_server(self.port, LOOPBACK, registry)
        self.place = f"{LOOPBACK}:{self.port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def exporters():
    exporters = [Exporter() for _ in range(5)]
    yield exporters
    for exporter in exporters:
        exporter.close()


@pytest.fixture
def server(tmp_path, exporters):
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed (Debian: apt-get install prometheus)")
    places = ", ".join(f'"{exporter.place}"' for exporter in exporters[:2])
    config = tmp_path / "prometheus.yml"
    config.write_text(CONFIG % (places, exporters[2].place, exporters[4].place))
    place = f"{LOOPBACK}:{free_port()}"
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address={place}",
        ],
        stdout=log,
        stderr=log,
    )

    def is_ready():
        assert process.poll() is None, (tmp_path / "log").read_text()
        try:
            with open_directly(f"http://{place}/-/ready", timeout=5):
                return True
        except OSError:
            return False

    try:
        until(is_ready, "Prometheus is ready")
        yield f"http://{place}"
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def test_figures_of_a_prometheus_server(server, exporters):
    services = [
        Service(name=f"engine-{number}", role="engine", metrics_url=f"http://{exporter.place}/metrics")
        for number, exporter in enumerate(exporters[:2], 1)
    ]
    # A pod's address is not the tower's to reach; its name is enough.
    url = "http://engine-3.engine.staging.svc:1/metrics"
    services.append(Service(name="engine-3", role="engine", metrics_url=url, namespace="staging"))
    exporters[4].lag.labels("0").set(1_000_000)
    # The server does not know this one: it is asked itself.
    services.append(Service(name="worker-1", role="worker", metrics_url=f"http://{exporters[3].place}/metrics"))
    check_server(server)
    scrape = Scrape(services, PrometheusSource(server))
    try:
        until(lambda: scrape.sample()["engines_answering"] == 3, "all targets were scraped")
        sample = scrape.sample()
        assert (sample["lag_records"], sample["workers_answering"]) == (28.0, 1.0)
        exporters[0].completed.inc(30)
        exporters[2].completed.inc(30)
        rates = set()

        def is_grown():
            rates.add(scrape.sample()["nodes_completed_per_second"])
            return max(rates) > 0

        until(is_grown, "a counter has grown")
        # That between two scrapes, not that between two looks, of which there are fifty a second.
        assert max(rates) <= 60.0 / RATE_SECONDS_MIN
        exporters[1].server.shutdown()
        exporters[1].server.server_close()
        until(lambda: scrape.sample()["engines_answering"] == 2, "a target that is down does not answer")
    finally:
        scrape.close()


def test_a_pod_of_this_name_in_another_namespace_is_nobodys():
    known = _by_place([Service(name="engine-0", role="engine", metrics_url="http://10.0.0.7:1/metrics", namespace="s")])
    assert _name_of({"pod": "engine-0", "namespace": "s", "instance": "10.0.0.7:1"}, known) == "engine-0"
    assert _name_of({"instance": "10.0.0.7:1"}, known) == "engine-0"
    assert _name_of({"pod": "engine-0", "namespace": "production", "instance": "10.0.0.8:1"}, known) is None


def test_what_is_no_prometheus_server_is_refused(exporters, tmp_path):
    with pytest.raises(PrometheusError, match="answers no query"):
        check_server(f"http://{LOOPBACK}:{free_port()}")
    # Another server, which answers whatever it is asked.
    with pytest.raises(PrometheusError, match="answers no query"):
        check_server(f"http://{exporters[0].place}")
    file = tmp_path / "t.toml"
    file.write_text(f'bootstrap_servers = "kafka:9092"\nmetrics = "http://{exporters[0].place}"\n')
    words = ["drill", "run", "1", "--topology", str(file), "--folder", str(tmp_path / "runs")]
    refused = CliRunner().invoke(backbeat, words)
    assert (refused.exit_code, "name a Prometheus server" in refused.output) == (1, True), refused.output
    assert not (tmp_path / "runs").exists()
