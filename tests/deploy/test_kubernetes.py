"""deploy/kubernetes: the schemas of Kubernetes, and what its manifests run."""

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
from tests.cli.processes import TIMEOUT_S, Hub
from tests.deploy.files import DEPLOY, Image, read_yaml

VERSION = "1.30"
MANIFESTS = {
    f"{manifest['kind']} {manifest['metadata']['name']} of {file}": manifest
    for file in ("hubs.yaml", "nats.yaml")
    for manifest in read_yaml(f"kubernetes/{file}")
}
HUBS = MANIFESTS["StatefulSet tidings of hubs.yaml"]["spec"]
NATS = MANIFESTS["StatefulSet nats of nats.yaml"]["spec"]


def only_container(stateful_set: dict[str, Any]) -> dict[str, Any]:
    [container] = stateful_set["template"]["spec"]["containers"]
    return dict(container)


def hub_options() -> dict[str, Any]:
    container = only_container(HUBS)
    return Image().options(container["args"], {each["name"]: each["value"] for each in container["env"]})


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest_fits_its_schema(name: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], VERSION, strict=True)


def test_schema_finds_a_misspelled_field() -> None:
    manifest = MANIFESTS["PodDisruptionBudget tidings of hubs.yaml"]
    wrong = manifest | {"spec": manifest["spec"] | {"maxUnavailible": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_selectors_ports_and_volumes_name_what_exists() -> None:
    labels = {"app": "tidings"}, {"app": "nats"}
    for manifest in MANIFESTS.values():
        spec = manifest.get("spec", {})
        if manifest["kind"] == "Service":
            selected = HUBS if spec["selector"] == labels[0] else NATS
            assert spec["selector"] == selected["template"]["metadata"]["labels"]
            ports = {port["name"]: port["containerPort"] for port in only_container(selected)["ports"]}
            for port in spec["ports"]:
                assert port.get("targetPort") in ports if "targetPort" in port else port["port"] == ports[port["name"]]
        elif manifest["kind"] == "PodDisruptionBudget":
            assert spec["selector"]["matchLabels"] in labels
    for stateful_set in (HUBS, NATS):
        pod = stateful_set["template"]["spec"]
        assert stateful_set["selector"]["matchLabels"] == stateful_set["template"]["metadata"]["labels"]
        assert f"Service {stateful_set['serviceName']}" in " ".join(MANIFESTS)
        volumes = {each["name"] for each in pod["volumes"]}
        volumes |= {each["metadata"]["name"] for each in stateful_set["volumeClaimTemplates"]}
        container = only_container(stateful_set)
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        named = {port["name"] for port in container["ports"]}
        probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
        assert {probe["port"] for probe in probes} <= named
        for constraint in pod["topologySpreadConstraints"]:
            assert constraint["labelSelector"] == stateful_set["selector"]


def test_hub_of_the_manifest_has_options_that_fit_it() -> None:
    options = hub_options()
    container = only_container(HUBS)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert options["host"] == "0.0.0.0"
    assert options.get("port", 8765) == ports["http"]
    assert options["admin-listen"] == f"0.0.0.0:{ports['metrics']}"
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert options["data"].startswith(f"{mounts['data']}/")
    assert options["keys"].startswith(f"{mounts['keys']}/")
    servers = [f"nats-{number}.nats:4222" for number in range(NATS["replicas"])]
    assert options["log"] == f"nats://{','.join(servers)}/hubs?replicas={NATS['replicas']}"
    [rule] = MANIFESTS["Ingress tidings of hubs.yaml"]["spec"]["rules"]
    assert rule["host"] in options["allow-host"]


def test_time_to_end_covers_the_drain() -> None:
    options = hub_options()
    pause = only_container(HUBS)["lifecycle"]["preStop"]["exec"]["command"]
    assert pause[0] == "sleep"
    assert "grace" not in options, "the default, 5 s"
    assert HUBS["template"]["spec"]["terminationGracePeriodSeconds"] >= int(pause[1]) + 5 + 10
    duration = re.search(r"lame_duck_duration: (\d+)s", nats_configuration())
    assert duration
    assert NATS["template"]["spec"]["terminationGracePeriodSeconds"] >= int(duration[1]) + 15


def test_probes_of_the_hub_are_answered() -> None:
    container = only_container(HUBS)
    with Hub() as hub:
        for kind in ("startup", "liveness", "readiness"):
            path = container[f"{kind}Probe"]["httpGet"]["path"]
            assert httpx.get(f"{hub.http.rstrip('/')}{path}", timeout=TIMEOUT_S).status_code == 200


def nats_configuration() -> str:
    return str(MANIFESTS["ConfigMap nats of nats.yaml"]["data"]["nats.conf"])


def test_nats_accepts_its_configuration(tmp_path: Path) -> None:
    file = tmp_path / "nats.conf"
    file.write_text(nats_configuration())
    program = shutil.which("nats-server", path=sysconfig.get_path("scripts"))
    assert program
    done = subprocess.run([program, "-t", "-c", file], env={"SERVER_NAME": "nats-0"}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    for mount in only_container(NATS)["volumeMounts"]:
        assert mount["mountPath"] in nats_configuration() + " ".join(only_container(NATS)["args"])


def test_both_configurations_of_nats_differ_only_in_their_hosts() -> None:
    def comparable(text: str) -> list[str]:
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        return [line for line in lines if not line.startswith(("routes:", "pid_file:"))]

    assert comparable(nats_configuration()) == comparable((DEPLOY / "nats" / "nats.conf").read_text())
