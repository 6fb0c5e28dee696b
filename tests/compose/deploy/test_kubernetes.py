"""The Kubernetes example: valid by the API's own schemas, and with words that the programs understand."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from backbeat.streams.process.settings import EngineSettings
from tests.compose.deploy.files import KUBERNETES
from tests.compose.deploy.words import accept

BASE = KUBERNETES / "base"
OVERLAY = KUBERNETES / "overlays" / "staging"
MONITORING = KUBERNETES / "components" / "monitoring"
#: Of the Prometheus operator: Kubernetes' own schemas do not have it.
FOREIGN = {"ServiceMonitor"}


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def resources(folder: Path) -> list[dict[str, Any]]:
    named = documents(folder / "kustomization.yaml")[0]["resources"]
    return [document for name in named if name.endswith(".yaml") for document in documents(folder / name)]


def by_name(kind: str) -> dict[str, dict[str, Any]]:
    return {resource["metadata"]["name"]: resource for resource in resources(BASE) if resource["kind"] == kind}


def pods() -> dict[str, dict[str, Any]]:
    """The pod of whatever makes one, by its name."""
    return {
        resource["metadata"]["name"]: resource["spec"]["template"]["spec"]
        for resource in resources(BASE)
        if "template" in resource.get("spec", {})
    }


def settings(kind: str = "configMapGenerator") -> dict[str, dict[str, str]]:
    generated = documents(BASE / "kustomization.yaml")[0][kind]
    return {generator["name"]: dict(word.split("=", 1) for word in generator["literals"]) for generator in generated}


def validate(resource: dict[str, Any]) -> None:
    kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize(
    "resource", resources(BASE) + resources(OVERLAY), ids=lambda row: f"{row['kind']}-{row['metadata']['name']}"
)
def test_a_resource_is_what_the_api_takes(resource):
    validate(resource)


def test_the_check_refuses_what_the_api_would():
    spoiled = by_name("Deployment")["backbeat-gateway"] | {"spec": {"replica": 2}}

    with pytest.raises(kubernetes_validate.ValidationError):
        validate(spoiled)


def test_whatever_a_folder_names_is_there_and_whatever_is_there_is_named():
    for folder in (BASE, OVERLAY, MONITORING):
        whole = documents(folder / "kustomization.yaml")[0]
        named = whole["resources"] + whole.get("components", []) + [patch["path"] for patch in whole.get("patches", [])]
        assert [name for name in named if not (folder / name).exists()] == []
        here = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
        assert here == {name for name in named if name.endswith(".yaml")}


def test_a_patch_changes_something_that_is_there():
    there = {(resource["kind"], resource["metadata"]["name"]): resource for resource in resources(BASE)}
    for patch in documents(OVERLAY / "kustomization.yaml")[0]["patches"]:
        (change,) = documents(OVERLAY / patch["path"])
        target = there[change["kind"], change["metadata"]["name"]]
        assert change["apiVersion"] == target["apiVersion"]
        changed = [container["name"] for container in change["spec"]["template"]["spec"]["containers"]]
        assert set(changed) <= {container["name"] for container in target["spec"]["template"]["spec"]["containers"]}


@pytest.mark.parametrize("folder", [BASE, OVERLAY], ids=["base", "overlay"])
def test_kustomize_builds_it(folder):
    kustomize = shutil.which("kustomize")
    if kustomize is None:
        pytest.skip("kustomize is not installed (go install sigs.k8s.io/kustomize/kustomize/v5@latest)")
    done = subprocess.run([kustomize, "build", str(folder)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    for resource in yaml.safe_load_all(done.stdout):
        if resource["kind"] not in FOREIGN:
            validate(resource)


@pytest.mark.parametrize("name", pods())
def test_the_programs_understand_their_words_and_settings(name):
    (container,) = pods()[name]["containers"]
    given = {variable["name"]: "backbeat-engine-0" for variable in container.get("env", [])}
    for source in container["envFrom"]:
        given |= settings()[source["configMapRef"]["name"]]

    accept(container["args"], given)


@pytest.mark.parametrize("name", pods())
def test_a_pod_has_no_more_rights_than_it_needs(name):
    pod = pods()[name]
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]
    assert pod["serviceAccountName"] in by_name("ServiceAccount")


def test_an_engine_keeps_its_name_and_its_volume_and_has_time_to_commit():
    engine = by_name("StatefulSet")["backbeat-engine"]["spec"]
    pod = engine["template"]["spec"]
    (container,) = pod["containers"]
    instance = next(variable for variable in container["env"] if variable["name"] == "BACKBEAT_INSTANCE_ID")

    assert instance["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert engine["serviceName"] in by_name("Service")
    claimed = {claim["metadata"]["name"] for claim in engine["volumeClaimTemplates"]}
    mounts = container["volumeMounts"]
    assert {mount["name"] for mount in mounts if mount["mountPath"] == "/var/lib/backbeat"} <= claimed
    assert pod["terminationGracePeriodSeconds"] > EngineSettings().commit_timeout_seconds


@pytest.mark.parametrize("name", ["backbeat-engine", "backbeat-gateway", "backbeat-projection"])
def test_what_serves_says_how_it_is_and_goes_one_at_a_time(name):
    (container,) = pods()[name]["containers"]
    ports = {port["name"] for port in container["ports"]}

    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/live"
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    service = by_name("Service")[name]
    # Of the projection there is one.
    if name != "backbeat-projection":
        budget = by_name("PodDisruptionBudget")[name]["spec"]
        assert budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"] == service["spec"]["selector"]
    monitors = documents(MONITORING / "monitors.yaml")
    monitored = [monitor for monitor in monitors if monitor["metadata"]["name"] == name]
    assert monitored[0]["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()


def test_secrets_are_referred_to_and_not_written_down():
    for path in KUBERNETES.rglob("*.yaml"):
        for document in documents(path):
            assert document["kind"] != "Secret"
            assert "secretGenerator" not in document
    assert not re.search(r"://[^/@]*:[^/@]*@", str(settings()))
