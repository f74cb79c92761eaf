"""deploy/compose: the schema of Compose, and its hubs and NATS servers as processes, with their own options."""

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import compose_spec
import httpx
import pytest
import yaml
from tests.cli.processes import TIMEOUT_S, Hub, tidings
from tests.cli.serve.cluster_processes import EVENT
from tests.cli.serve.worker_processes import wait_until
from tests.deploy.files import DEPLOY, Image, read_yaml
from tests.nats_server import NatsServer, free_port
from tests.postgres_server import new_postgres_server

COMPOSE = DEPLOY / "compose"
PASSWORD = "s3cret"


def read_services(name: str) -> dict[str, Any]:
    """Return the services of a file, with its variables filled in."""
    text = (COMPOSE / name).read_text()
    text = re.sub(r"\$\{POSTGRES_PASSWORD:\?[^}]*\}", PASSWORD, text)
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    assert "$" not in text
    return dict(yaml.safe_load(text)["services"])


def hubs_of(services: Mapping[str, Any]) -> dict[str, Any]:
    return {name: service for name, service in services.items() if name.startswith("hub-")}


@pytest.mark.parametrize("name", ["nats.yaml", "postgres.yaml"])
def test_file_fits_its_schema_and_names_what_exists(name: str) -> None:
    [file] = read_yaml(f"compose/{name}")
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(file))
    for service in file["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (COMPOSE / source).is_file() if source.startswith(".") else source in file["volumes"], volume
        assert set(service.get("networks", ())) <= set(file["networks"])
        if "build" in service:
            context = COMPOSE / service["build"]["context"]
            assert (context / service["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")


def test_schema_finds_a_misspelled_field() -> None:
    with pytest.raises(ValueError, match="extension key"):
        compose_spec.PyCompose.from_yaml("services: {hub: {image: tidings, volume: [data:/data]}}")


@pytest.mark.parametrize("name", ["nats.yaml", "postgres.yaml"])
def test_hubs_have_options_that_fit_the_other_services(name: str) -> None:
    services = read_services(name)
    hubs, proxy = hubs_of(services), services["proxy"]
    assert proxy["environment"]["TIDINGS_HUBS"].split() == [f"{name}:8765" for name in hubs]
    for hub, service in hubs.items():
        options = Image().options(service.get("command", ()), service["environment"])
        assert options["host"] == "0.0.0.0"
        assert "port" not in options, "the default, 8765"
        assert options["trusted-proxy"] == [proxy["networks"]["front"]["ipv4_address"]]
        assert options["allow-host"] == [proxy["environment"]["TIDINGS_SITE"]]
        assert service["hostname"] == hub, "a name by which the proxy and Prometheus may address it"
        mounted = {target.split(":")[1] for target in service["volumes"]}
        assert mounted == {options["data"], options["keys"].rpartition("/")[0]}
        engines = [each.partition(":")[0] for each in re.findall(r"[\w-]+:4222|@\w+", options["log"])]
        assert {engine.lstrip("@") for engine in engines} <= services.keys()
        assert int(service["stop_grace_period"].removesuffix("s")) >= 5 + 5, "--grace is 5 s by default"


@contextmanager
def running_hubs(services: Mapping[str, Any], journal: str, folder: Path) -> Iterator[list[tuple[Hub, str]]]:
    """Run the hubs of a file beside another journal; yield each with a key that all accept."""
    [key_file] = {service["environment"]["TIDINGS_KEYS"] for service in hubs_of(services).values()}
    keys = str(folder / Path(key_file).name)
    made = tidings(*services["keys"]["entrypoint"][1:], "add", "admin", "--grant", "admin", TIDINGS_KEYS=keys)
    assert made.returncode == 0, made.stderr
    with ExitStack() as stack:
        hubs = []
        for name, service in hubs_of(services).items():
            variables = Image().variables | service["environment"]
            variables |= {"TIDINGS_DATA": str(folder / name), "TIDINGS_KEYS": keys, "TIDINGS_LOG": journal}
            variables |= {"TIDINGS_HOST": "127.0.0.1", "TIDINGS_ADMIN_LISTEN": f"127.0.0.1:{free_port()}"}
            hubs.append((stack.enter_context(Hub(memory=False, env=variables)), made.stdout.strip()))
        yield hubs


def check_that_hubs_share_their_log(hubs: list[tuple[Hub, str]]) -> None:
    (first, key), *_ = hubs
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.post(f"{first.http}v1/events", json=EVENT, headers=headers, timeout=TIMEOUT_S)
    assert answer.status_code == 200, answer.text

    def has_the_event(hub: Hub) -> bool:
        found = httpx.get(f"{hub.http}v1/events?channel=data", headers=headers, timeout=TIMEOUT_S)
        return [event["position"] for event in found.json()["events"]] == [answer.json()["position"]]

    for hub, _ in hubs:
        wait_until(partial(has_the_event, hub))


def test_hubs_and_nats_servers_of_the_file_share_a_log(tmp_path: Path) -> None:
    services = read_services("nats.yaml")
    names = [name for name in services if name.startswith("nats-")]
    clients, routes = ({name: free_port() for name in names} for _ in range(2))
    [mount] = {service["volumes"][1] for name, service in services.items() if name in names}
    text = (COMPOSE / mount.split(":")[0]).read_text()
    for name in names:
        assert f"nats://{name}:6222" in text
        text = text.replace(f"{name}:6222", f"127.0.0.1:{routes[name]}")
    text = text.replace("http: 0.0.0.0:8222\n", "")
    [journal] = {service["environment"]["TIDINGS_LOG"] for service in hubs_of(services).values()}
    with ExitStack() as stack:
        for name in names:
            file = tmp_path / f"{name}.conf"
            assert services[name]["environment"]["SERVER_NAME"] == name
            own = text.replace("$SERVER_NAME", name).replace("0.0.0.0:6222", f"127.0.0.1:{routes[name]}")
            file.write_text(
                own.replace("0.0.0.0:4222", f"127.0.0.1:{clients[name]}").replace("/data", f"{tmp_path}/{name}")
            )
            server = NatsServer(tmp_path / name, jetstream=False, arguments=["-c", str(file)], name=name)
            server.port = clients[name]
            stack.callback(server.stop)
            server.start()
            journal = journal.replace(f"{name}:4222", f"127.0.0.1:{clients[name]}")
        assert "nats-" not in journal
        check_that_hubs_share_their_log(stack.enter_context(running_hubs(services, journal, tmp_path)))


def test_hubs_of_the_file_share_a_log_in_postgresql(tmp_path: Path) -> None:
    services = read_services("postgres.yaml")
    database = services["postgres"]["environment"]
    [journal] = {service["environment"]["TIDINGS_LOG"] for service in hubs_of(services).values()}
    assert journal == f"postgresql://{database['POSTGRES_USER']}@postgres/{database['POSTGRES_DB']}"
    assert {hub["environment"]["PGPASSWORD"] for hub in hubs_of(services).values()} == {database["POSTGRES_PASSWORD"]}
    with new_postgres_server() as server, running_hubs(services, server.url, tmp_path) as hubs:
        check_that_hubs_share_their_log(hubs)
