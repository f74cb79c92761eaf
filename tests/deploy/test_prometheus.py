"""The alerts and the dashboard in `deploy`, with promtool, and with Prometheus collecting from two real nodes."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.cli.processes import TIMEOUT_S, tidings
from tests.cli.serve.cluster_processes import NodeHub
from tests.cli.serve.worker_processes import wait_until
from tests.deploy.files import DEPLOY, read_yaml
from tests.nats_server import NatsServer, free_port
from tests.transcripts.markdown import Document

PROMTOOL = shutil.which("promtool")
pytestmark = pytest.mark.skipif(PROMTOOL is None and not os.environ.get("CI"), reason="prometheus is not installed")

PROMETHEUS = DEPLOY / "prometheus"
RULES = [rule for group in read_yaml("prometheus/alerts.yml")[0]["groups"] for rule in group["rules"]]
BOARD = json.loads((DEPLOY / "grafana" / "tidings.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = {
    f"{panel['title']} {target['refId']}": target["expr"].replace("$job", "tidings").replace("$__rate_interval", "1m")
    for panel in PANELS
    for target in panel["targets"]
}
OF_PROMETHEUS = {"up"}
OWN_LABELS = {"job", "instance"}
"""Labels that Prometheus adds to each sample."""


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_and_a_healthy_hub_causes_none() -> None:
    promtool("test", "rules", "alerts_test.yml")
    [tests] = read_yaml("prometheus/alerts_test.yml")
    healthy, *firing = tests["tests"]
    names = [rule["alert"] for rule in RULES]
    assert [test["alert_rule_test"][0]["alertname"] for test in firing] == names
    assert all(test["alert_rule_test"][0]["exp_alerts"] for test in firing)
    assert [each["alertname"] for each in healthy["alert_rule_test"]] == names


def test_configuration_of_prometheus_is_valid(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch()
    (tmp_path / "alerts.yml").write_bytes((PROMETHEUS / "alerts.yml").read_bytes())
    text = (PROMETHEUS / "prometheus.yml").read_text()
    assert "/etc/prometheus/tidings-key" in text
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/tidings-key", str(key)))
    promtool("check", "config", tmp_path / "prometheus.yml")


def test_runbook_has_each_alert_in_its_section() -> None:
    runbook = Document("docs/runbook.md")
    named = [heading for heading in runbook.headings if heading.startswith("Tidings")]
    assert named == [rule["alert"] for rule in RULES]
    assert set(re.findall(r"\bTidings[A-Z]\w+", runbook.text)) == set(named)


def test_panels_have_a_source_a_title_and_a_place_of_their_own() -> None:
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    places: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & places, panel["title"]
        assert all(x < 24 for x, _ in cells)
        places |= cells
    for panel in PANELS:
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    assert {variable["name"] for variable in BOARD["templating"]["list"]} == {"datasource", "job"}


class Cluster:
    """Two nodes with keys and a license, and a Prometheus with the files of `deploy` that collects from both."""

    def __init__(self, url: str, nodes: list[NodeHub], metrics: str) -> None:
        self.url = url
        self.nodes = nodes
        self.families = list(text_string_to_metric_families(metrics))

    def query(self, expression: str) -> list[Any]:
        """Return the result of a query."""
        answer = httpx.post(f"{self.url}/api/v1/query", data={"query": expression}, timeout=TIMEOUT_S).json()
        assert answer["status"] == "success", (expression, answer)
        return list(answer["data"]["result"])


def issue_license(folder: Path) -> list[str]:
    """Issue a license for a day; return the options of a hub that has it."""
    key, public, license = (folder / name for name in ("license.key", "license.pub", "license.jwt"))
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
    key.chmod(0o600)
    done = tidings("license", "issue", "--subject", "ACME", "--expires", "1d", "--private-key", str(key))
    assert done.returncode == 0, done.stderr
    license.write_text(done.stdout)
    for file in (public, license):
        file.chmod(0o644)
    return ["--license", str(license), "--license-public-key", str(public)]


@contextmanager
def prometheus(folder: Path, key: str, targets: list[str]) -> Iterator[str]:
    """Run Prometheus with the shipped files; yield its URL."""
    (folder / "key").write_text(key)
    (folder / "alerts.yml").write_bytes((PROMETHEUS / "alerts.yml").read_bytes())
    [configuration] = read_yaml("prometheus/prometheus.yml")
    configuration["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
    [job] = configuration["scrape_configs"]
    job["authorization"]["credentials_file"] = str(folder / "key")
    job["static_configs"] = [{"targets": targets}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    program = shutil.which("prometheus")
    assert program
    address = f"127.0.0.1:{free_port()}"
    options = [
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address={address}",
    ]
    with (folder / "stderr").open("wb") as log:
        process = subprocess.Popen([program, *options], stdout=log, stderr=log)

    def is_ready() -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"http://{address}/-/ready", timeout=TIMEOUT_S).status_code == 200
        return False

    try:
        wait_until(is_ready)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("prometheus")
    made = tidings("key", "add", "prometheus", "--grant", "admin", "--keys", str(folder / "keys.jsonl"))
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    license = issue_license(folder)
    engine = NatsServer(folder / "nats")
    engine.start()
    with ExitStack() as stack:
        stack.callback(engine.stop)
        nodes, targets = [], []
        for name in ("a", "b"):
            targets.append(f"127.0.0.1:{free_port()}")
            options = ["--auth", "keys", "--keys", str(folder / "keys.jsonl"), "--admin-listen", targets[-1]]
            node = NodeHub(folder / name, f"{engine.url}/hubs", *options, *license)
            nodes.append(stack.enter_context(node))
        headers = {"Authorization": f"Bearer {key}"}
        for verb in ("start", "complete"):
            event = {"type": f"operation:{verb}", "data": {"operation_id": "1", "name": "import"}}
            answer = httpx.post(f"{nodes[0].http}v1/events", json=event, headers=headers, timeout=TIMEOUT_S)
            assert answer.status_code == 200, answer.text
        for _ in range(2):
            assert httpx.get(f"{nodes[0].http}v1/events", headers={"Authorization": "Bearer no"}).status_code == 401
        metrics = httpx.get(f"http://{targets[0]}/metrics", headers=headers, timeout=TIMEOUT_S).text
        url = stack.enter_context(prometheus(folder, key, targets))
        found = Cluster(url, nodes, metrics)

        wait_until(lambda: len(found.query("count_over_time(tidings_info[1m]) > 1")) == len(targets))
        yield found


def test_metrics_and_labels_of_alerts_and_dashboard_exist(cluster: Cluster) -> None:
    labels: dict[str, set[str]] = {}
    for family in cluster.families:
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
            assert not OWN_LABELS & set(sample.labels), f"Prometheus renames the labels of {sample.name}"
    for expression in [*EXPRESSIONS.values(), *(rule["expr"] for rule in RULES)]:
        names = set(re.findall(r"\b(?:tidings|process)_\w+|\bup\b", expression)) - {"tidings"}
        assert names, expression
        assert names <= labels.keys() | OF_PROMETHEUS, expression
        known = OWN_LABELS.union(*(labels.get(name, set()) for name in names))
        used = set(re.findall(r'(\w+)\s*!?=~?\s*"', expression))
        for listed in re.findall(r"\b(?:by|on|without)\s*\(([^)]*)\)", expression):
            used |= set(listed.replace(" ", "").split(","))
        assert used <= known, expression
    for rule in RULES:
        names = set(re.findall(r"\btidings_\w+", rule["expr"]))
        known = OWN_LABELS.union(*(labels.get(name, set()) for name in names))
        assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= known, rule["alert"]
    legends = {name for panel in PANELS for target in panel["targets"] for name in [target["legendFormat"]]}
    assert set(re.findall(r"\{\{(\w+)\}\}", " ".join(legends))) <= OWN_LABELS.union(*labels.values())


def test_panels_show_what_prometheus_collected(cluster: Cluster) -> None:
    # Where nothing is wrong, panels with a condition show nothing.
    empty = {name for name, expression in EXPRESSIONS.items() if not cluster.query(expression)}
    assert empty == {name for name, expression in EXPRESSIONS.items() if expression.endswith("> 0")}


def test_alerts_are_loaded_and_tell_a_node_that_ended(cluster: Cluster) -> None:
    def alerts() -> dict[str, dict[str, Any]]:
        groups = httpx.get(f"{cluster.url}/api/v1/rules", timeout=TIMEOUT_S).json()["data"]["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    wait_until(lambda: all(rule["health"] == "ok" for rule in alerts().values()))
    states = {name: rule["state"] for name, rule in alerts().items()}
    assert states.keys() == {rule["alert"] for rule in RULES}
    assert {name for name, state in states.items() if state != "inactive"} == {"TidingsLicenseExpires"}
    assert cluster.nodes[1].stop()[0] == 0
    wait_until(lambda: alerts()["TidingsDown"]["state"] == "pending")  # it fires after a minute
