import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.contract.called import Called
from tests.cli.processes import TIDINGS, TIMEOUT_S, Hub, environment, tidings
from tests.client.http_server import http_server

from tidings.contract.contract import Contract
from tidings.contract.diff.rules import RULES
from tidings.contract.export.document import export_json
from tidings.contract.loading import read_contract

OLD = """
[[events]]
type = "trade:executed"
channel = "trades"
key = "trade_id"
fields = { trade_id = "string", price = "integer", side = { enum = ["buy", "sell"] } }
"""
WIDER = OLD.replace('"integer"', '"number"')
NARROWER = OLD.replace('["buy", "sell"]', '["buy"]')
HARMLESS = OLD.replace('price = "integer"', 'price = "integer", note = "string?"')


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    texts = {"old": OLD, "wider": WIDER, "narrower": NARROWER, "harmless": HARMLESS}
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(text)
    return {name: str(tmp_path / f"{name}.toml") for name in texts}


def test_changes_are_listed_with_their_rule_and_side(files: dict[str, str]) -> None:
    done = tidings("contract", "diff", files["old"], files["wider"])
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        "Breaking:",
        "  trade:executed",
        "    $.data.price: a fraction is allowed (integer → number)  [integer-to-number]",
        "      readers BREAK: they may receive values that they do not accept",
        "      writers fit: the hub still accepts their events",
        "",
        "1 breaking (1 for readers, 0 for writers), 0 compatible, 0 for people only",
    ]


@pytest.mark.parametrize(
    ("new", "options", "code"),
    [
        ("old", (), 0),
        ("harmless", (), 0),
        ("wider", (), 1),
        ("wider", ("--breaking-for", "readers"), 1),
        ("wider", ("--breaking-for", "writers"), 0),
        ("narrower", ("--breaking-for", "readers"), 0),
        ("narrower", ("--breaking-for", "writers"), 1),
        ("narrower", ("--breaking-for", "any"), 1),
        ("narrower", ("--breaking-for", "nobody"), 2),
    ],
)
def test_exit_code_depends_on_the_breaking_side(
    files: dict[str, str],
    new: str,
    options: tuple[str, ...],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert Called(monkeypatch, capsys, "contract", "diff", files["old"], files[new], *options).code == code


def test_equal_contracts_have_no_difference(files: dict[str, str]) -> None:
    done = tidings("contract", "diff", files["old"], files["old"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "No difference.\n", "")


def test_json_has_every_finding(files: dict[str, str]) -> None:
    report = json.loads(tidings("contract", "diff", files["old"], files["narrower"], "--json").stdout)
    assert report["breaks"] == {"readers": 0, "writers": 1}
    assert (report["breaking"], report["compatible"], report["annotation"]) == (1, 0, 0)
    assert report["old"]["hash"] == read_contract(OLD, "old", form="toml").identity.hash
    (change,) = report["changes"]
    assert change["rule"] in RULES
    assert change == {
        "event": "trade:executed",
        "path": "$.data.side",
        "verdict": "breaking",
        "rule": "choice-value-removed",
        "sentence": RULES["choice-value-removed"].sentence,
        "readers": {"verdict": "compatible", "because": RULES["choice-value-removed"].readers.because},
        "writers": {"verdict": "breaking", "because": RULES["choice-value-removed"].writers.because},
        "before": "sell",
        "after": None,
    }


def test_diff_reads_modules_exports_pipes_and_hubs(files: dict[str, str], tmp_path: Path) -> None:
    exported = export_json(read_contract(OLD, "old", form="toml"))
    (tmp_path / "own_events.py").write_text(
        "import msgspec\n"
        "from typing import Literal\n"
        "import tidings\n"
        "class Trade(msgspec.Struct, frozen=True, kw_only=True):\n"
        "    trade_id: str\n"
        "    price: int\n"
        "    side: Literal['buy', 'sell']\n"
        "contract = tidings.Contract.of(tidings.event('trade:executed', Trade, channel='trades', key='trade_id'))\n"
    )
    module = subprocess.run(
        [*TIDINGS, "contract", "diff", "-", "own_events:contract", "--json"],
        input=exported.encode(),
        capture_output=True,
        timeout=TIMEOUT_S,
        cwd=tmp_path,
        env=environment(),
        check=False,
    )
    assert module.returncode == 1, module.stderr
    rules = {(each["path"], each["rule"]) for each in json.loads(module.stdout)["changes"]}
    assert rules == {
        ("name", "name-changed"),
        ("$.data.price", "minimum-lowered"),  # Python's int knows no limits
        ("$.data.price", "maximum-raised"),
    }
    with http_server(exported.encode()) as hub:
        assert tidings("contract", "diff", hub, files["old"]).stdout == "No difference.\n"
        assert tidings("contract", "diff", f"{hub}/files/contract.json", "-", stdin=OLD).stdout == "No difference.\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no /dev/fd")
def test_a_file_descriptor_of_the_shell_is_read(files: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -m tidings contract diff <(cat "{files["old"]}") <(cat "{files["wider"]}")'],
        capture_output=True,
        timeout=TIMEOUT_S,
        env=environment(),
        check=False,
    )
    assert done.returncode == 1
    assert b"integer-to-number" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("no-such.json", "-"), "no-such.json"),
        (("nothing", "-"), "invalid contract 'nothing'"),
        (("json:loads", "-"), "expected a Contract, not a function"),
        (("-", "-"), "stdin"),
        (("-", "http://127.0.0.1:9"), "no hub answers at 127.0.0.1:9"),
        (("-",), "NEW"),
    ],
)
def test_contracts_that_cannot_be_compared_exit_with_2(
    arguments: tuple[str, ...], error: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Called(monkeypatch, capsys, "contract", "diff", *arguments, stdin=OLD)
    assert (done.code, done.stdout) == (2, "")
    assert error in done.stderr


@pytest.mark.parametrize("text", ["{", "[[events]", '{"events": 5}', ""])
def test_a_pipe_without_a_contract_is_an_error(
    text: str, files: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Called(monkeypatch, capsys, "contract", "diff", "-", files["old"], stdin=text)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: stdin: ")


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"<html>", 200, "not from a hub of this version"),
        (b"<html>", 502, "answers 502"),
        (
            b'{"code":"not_found","message":"nothing is there","recoverable":false}',
            404,
            "nothing is there (not_found)",
        ),
        (b'{"code":"draining","message":"going down","recoverable":true}', 503, "going down (draining)"),
    ],
)
def test_a_server_without_a_contract_is_an_error(
    body: bytes,
    status: int,
    error: str,
    files: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with http_server(body, status) as hub:
        done = Called(monkeypatch, capsys, "contract", "diff", hub, files["old"])
    assert (done.code, done.stdout) == (2, "")
    assert error in done.stderr


def test_a_real_hub_has_the_built_in_contract(shared_hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "now.json").write_text(export_json(Contract()))
    for url in (shared_hub.url, shared_hub.http):
        done = tidings("contract", "diff", url, str(tmp_path / "now.json"))
        assert (done.returncode, done.stdout, done.stderr) == (0, "No difference.\n", "")


def test_built_in_events_are_compared_too(tmp_path: Path) -> None:
    older = json.loads(export_json(Contract()))
    older["events"] = [row for row in older["events"] if row["type"] != "operation:log"]
    (tmp_path / "older.json").write_text(json.dumps(older))
    (tmp_path / "now.json").write_text(export_json(Contract()))
    done = tidings("contract", "diff", str(tmp_path / "older.json"), str(tmp_path / "now.json"))
    assert done.returncode == 0
    assert "operation:log" in done.stdout
