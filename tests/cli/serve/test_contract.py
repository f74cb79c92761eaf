"""`tidings serve` with a contract of an application's own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cli.processes import Hub, tidings
from tests.contract.test_loading import TOML

from tidings.contract.contract import Contract
from tidings.contract.loading import read_contract

EXECUTED = {"type": "trade:executed", "data": {"trade_id": "t1", "price": 1.5, "side": "buy"}}
UNDECLARED = {"type": "trade:settled", "data": {"anything": [1]}}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("contract") / "shop.toml"
    path.write_text(TOML)
    return path


@pytest.fixture(scope="module")
def strict(shop: Path) -> Iterator[Hub]:
    with Hub("--contract", str(shop), "--log-level", "error") as hub:
        yield hub


def post(hub: Hub, event: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    answer = httpx.post(f"{hub.http}v1/events", json=event)
    return answer.status_code, answer.json()


def test_events_of_the_contract_are_accepted_if_valid(strict: Hub) -> None:
    assert post(strict, EXECUTED)[0] == 200
    status, error = post(strict, {**EXECUTED, "data": {**EXECUTED["data"], "side": "hold"}})  # type: ignore[dict-item]
    assert (status, error["code"]) == (422, "invalid_payload")
    (event,) = httpx.get(f"{strict.http}v1/events?channel=trades").json()["events"]
    assert event["data"] == EXECUTED["data"]


def test_a_strict_hub_refuses_undeclared_types(strict: Hub) -> None:
    status, error = post(strict, UNDECLARED)
    assert (status, error["code"]) == (422, "unknown_type")


def test_a_lenient_hub_accepts_undeclared_types(shop: Path) -> None:
    with Hub("--contract", str(shop), "--lenient", "--log-level", "error") as hub:
        assert post(hub, UNDECLARED)[0] == 200
        assert post(hub, EXECUTED)[0] == 200


def test_the_strict_flag_overrides_the_lenient_variable(shop: Path) -> None:
    done = tidings("serve", "--show-config", "--strict", TIDINGS_CONTRACT=str(shop), TIDINGS_LENIENT="yes")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert lines["contract"].startswith(f"contract = {json.dumps(str(shop))} ")
    assert lines["contract"].endswith("# TIDINGS_CONTRACT")
    assert lines["lenient"].startswith("lenient = false ")
    assert lines["lenient"].endswith("# --lenient")


def test_serve_reports_its_contract(shop: Path) -> None:
    identity = read_contract(TOML, "shop.toml", form="toml").identity
    with Hub("--contract", str(shop), "--log-format", "json") as hub:
        about = httpx.get(hub.http).json()
        _, _, stderr = hub.stop()
    assert about["contract"] == {"version": identity.version, "hash": identity.hash}
    assert identity != Contract().identity
    (ready,) = (line for line in map(json.loads, stderr.splitlines()) if line["event"] == "hub ready")
    assert (ready["contract"], ready["own_events"]) == (f"{identity.version} {identity.hash}", 2)


def test_an_invalid_contract_is_an_error_in_two_lines(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('[[events]]\ntype = "operation:paused"\nchannel = "data"\nfields = { id = "string" }\n')
    done = tidings("serve", "--memory", "--port", "0", "--contract", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{path}, events[0]" in done.stderr
    assert "the name is reserved" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("hint: ")
