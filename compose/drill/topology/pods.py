"""Services of Kubernetes: the pods of a namespace, read by the cluster's API as a kubeconfig or the pod itself may.

No capsule sees a pod's processes: signals are given to a pod by `kubectl`, which ends it at once (SIGKILL) or in order
(SIGTERM). That is done only to pods that come back under their name, those of a StatefulSet.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import TopologyError
from backbeat.schemas.requests.decoding import from_json

_ASK_SECONDS_MAX = 30.0
_NAME_LABELS = ("app.kubernetes.io/name", "app", "k8s-app")
_PREFIX = "backbeat-"
_ROLES = {"kafka": "broker"}
#: Names of the ports at which metrics are told, the best first.
_PORTS = ("metrics", "tcp-prometheus", "status", "http")
_PORT_ANNOTATION = "prometheus.io/port"
_ENDED = ("Succeeded", "Failed")


class Namespace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Namespace of a cluster."""

    name: str
    #: context of the kubeconfig; empty: its current one, or the cluster in which this process runs
    context: str = ""
    #: labels that the pods have: app.kubernetes.io/name in (backbeat-engine, backbeat-gateway); empty: all pods
    selector: str = ""

    def kubectl(self, *words: str) -> tuple[str, ...]:
        """A command about it."""
        context = ("--context", self.context) if self.context else ()
        return ("kubectl", *context, "--namespace", self.name, *words)


class _Part(msgspec.Struct, rename="camel"):
    """Part of the API's answers; unknown fields are skipped."""


class _Owner(_Part):
    kind: str


class _Metadata(_Part):
    name: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[_Owner] = []
    deletion_timestamp: str | None = None


class _Port(_Part):
    container_port: int
    name: str = ""


class _Container(_Part):
    ports: list[_Port] = []


class _Spec(_Part):
    containers: list[_Container]
    node_name: str = ""
    hostname: str = ""
    subdomain: str = ""


class _Status(_Part):
    phase: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")


class _Pod(_Part):
    metadata: _Metadata
    spec: _Spec
    status: _Status


class _Pods(_Part):
    items: list[_Pod]


class _Refusal(_Part):
    message: str


def discover_pods(namespace: Namespace) -> list[Service]:
    """The services of a namespace, one for each pod that has not ended. TopologyError: none, or they cannot be read."""
    try:
        answer = asyncio.run(_ask(namespace))
    except ImportError as error:
        raise TopologyError(f"{error.name} is missing. What to do: pip install 'backbeat[kubernetes]'.") from error
    services = services_of(answer, namespace)
    if not services:
        raise TopologyError(
            f"no pod is there in the namespace {namespace.name} with the labels {namespace.selector or '(any)'}. "
            f"What to do: look at `{shlex.join(namespace.kubectl('get', 'pods', '--show-labels'))}`."
        )
    return services


def services_of(answer: bytes, namespace: Namespace) -> list[Service]:
    """The services of an answer of the API: a PodList in JSON."""
    return [
        _service(pod, namespace)
        for pod in from_json(answer, _Pods).items
        if pod.metadata.deletion_timestamp is None and pod.status.phase not in _ENDED
    ]


async def _ask(namespace: Namespace) -> bytes:
    """The API's list of pods."""
    from aiohttp import ClientError
    from kubernetes_asyncio import client, config

    try:
        if namespace.context or any(map(Path.exists, _kubeconfigs())):
            await config.load_kube_config(context=namespace.context or None)
        else:
            config.load_incluster_config()  # type: ignore[no-untyped-call]
        async with client.ApiClient() as api:
            # The response itself: what it holds is decoded here, whatever the version of the API.
            response: Any = await client.CoreV1Api(api).list_namespaced_pod(
                namespace.name,
                label_selector=namespace.selector,
                _request_timeout=_ASK_SECONDS_MAX,
                _preload_content=False,
            )
            answer: bytes = await response.read()
        reason = "" if response.status == HTTPStatus.OK else f"{response.status}: {_message(answer)}"
    except (config.ConfigException, ClientError, OSError) as error:
        reason = f"{type(error).__name__}: {error}".removesuffix(".")
    if reason:
        raise TopologyError(
            f"the pods of the namespace {namespace.name} cannot be read: {reason}. What to do: try "
            f"`{shlex.join(namespace.kubectl('get', 'pods'))}`; it takes the right to list pods."
        )
    return answer


def _message(answer: bytes) -> str:
    """The reason that the API gives, or whatever else answered."""
    try:
        return from_json(answer, _Refusal).message
    except msgspec.DecodeError:
        return answer.decode(errors="replace")


def _kubeconfigs() -> list[Path]:
    paths = os.environ.get("KUBECONFIG", "").split(os.pathsep)
    return [Path(path) for path in paths if path] or [Path.home() / ".kube" / "config"]


def _service(pod: _Pod, namespace: Namespace) -> Service:
    name = pod.metadata.name
    delete = namespace.kubectl("delete", "pod", name, "--wait=false")
    comes_back = any(owner.kind == "StatefulSet" for owner in pod.metadata.owner_references)
    return Service(
        name=name,
        role=_role(pod.metadata),
        host=pod.spec.node_name,
        metrics_url=_metrics_url(pod, namespace),
        signals={"SIGTERM": delete, "SIGKILL": (*delete, "--force", "--grace-period=0")} if comes_back else {},
        namespace=namespace.name,
        log_command=namespace.kubectl("logs", name, "--all-containers", "--since={seconds}s"),
    )


def _role(metadata: _Metadata) -> str:
    labels = metadata.labels
    label = next((labels[name] for name in _NAME_LABELS if name in labels), metadata.name)
    role = label.removeprefix(_PREFIX)
    return _ROLES.get(role, role)


def _metrics_url(pod: _Pod, namespace: Namespace) -> str:
    """Address of its metrics: by its name where it keeps one, since the pod that comes back has another address."""
    ports = {port.name: port.container_port for container in pod.spec.containers for port in container.ports}
    named = next((str(ports[name]) for name in _PORTS if name in ports), "")
    port = pod.metadata.annotations.get(_PORT_ANNOTATION, named)
    address = f"[{pod.status.pod_ip}]" if ":" in pod.status.pod_ip else pod.status.pod_ip
    if pod.spec.hostname and pod.spec.subdomain:
        address = f"{pod.spec.hostname}.{pod.spec.subdomain}.{namespace.name}.svc"
    return f"http://{address}:{port}/metrics" if port and address else ""
