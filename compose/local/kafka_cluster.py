"""Several real Kafka brokers on this machine as one cluster: each a broker and a voter of the KRaft quorum.

For replicas, `min.insync.replicas`, and work that goes on while a broker is away.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from backbeat.compose.cli.show.progress import Say
from backbeat.compose.local.kafka import START_SECONDS_MAX, KafkaBroker, Membership
from backbeat.compose.local.ports import free_port
from backbeat.compose.local.storage import make_id
from backbeat.schemas.kafka.security import Brokers

#: With three replicas one may be away: two have every record that counts as written.
REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}

_REPLICAS = 3


class KafkaCluster:
    """Brokers with the node ids 1, 2, 3 …, from `start()` (or `with`) to `stop()`.

    The thread that starts a cluster must stay until it is stopped: the kernel ends a broker with the thread that
    started it.
    """

    def __init__(
        self,
        data_dir: Path,
        brokers: int = 3,
        *,
        ports: Sequence[int] | None = None,
        settings: Mapping[str, str] | None = None,
        proxied: Sequence[tuple[int, int]] = (),
        say: Say = print,
    ) -> None:
        """`ports`: of each broker, else free ones. `settings`: Kafka's own, for each broker.

        `proxied`: of each broker, a second port and the port of the proxy that leads there (`Membership.proxied`).
        """
        assert ports is None or len(ports) == brokers, "one port for each broker"
        ports_taken = list(ports or [])
        while len(ports_taken) < 2 * brokers:
            ports_taken.append(free_port(avoid=ports_taken))
        nodes = range(1, brokers + 1)
        controller_ports = dict(zip(nodes, ports_taken[brokers:], strict=True))
        cluster_id = make_id()
        self.brokers = [
            KafkaBroker(
                data_dir / f"kafka-{node}",
                port=port,
                say=say,
                membership=Membership(
                    cluster_id=cluster_id,
                    controller_ports=controller_ports,
                    node_id=node,
                    settings={**(REPLICATED if brokers >= _REPLICAS else {}), **(settings or {})},
                    proxied=proxied[node - 1] if proxied else None,
                ),
            )
            for node, port in zip(nodes, ports_taken[:brokers], strict=True)
        ]

    @property
    def bootstrap_servers(self) -> str:
        """Address for clients: all brokers, so that any of them may be away."""
        return Brokers(",".join(broker.bootstrap_servers for broker in self.brokers))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, seconds: float = START_SECONDS_MAX) -> None:
        """Start all brokers and wait until each answers and knows the others."""
        try:
            # At the same time, and apart from the processes that have to stay: each is a Java that runs for a second.
            with ThreadPoolExecutor(len(self.brokers)) as pool:
                list(pool.map(KafkaBroker.prepare, self.brokers))
            for broker in self.brokers:
                broker.launch()
            for broker in self.brokers:
                broker.wait_ready(seconds, brokers=len(self.brokers))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all brokers at the same time; what they hold stays."""
        # One after the other the last would have lost its quorum, and wait in vain for a controller to let it go.
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(KafkaBroker.stop, self.brokers))
