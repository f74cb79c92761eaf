import gzip
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.contract.called import Called
from tests.cli.processes import Hub, Process, Terminal, tidings
from tests.client.http_server import http_server

STRICTER = """
[[events]]
type = "trade:executed"
channel = "trades"
key = "trade_id"
fields = { trade_id = "string", price = "integer" }
"""
SPOKEN = STRICTER.replace('"integer"', '"number"').replace("price", "note = 'string?', price")
RENAMED = STRICTER.replace("trade:executed", "trade:execute")


def envelope(type: str, **data: Any) -> str:
    return json.dumps({"type": type, "timestamp": "2025-07-30T12:00:00Z", "trace_id": "t", "data": data})


LINES = [
    envelope("tidings:recording", format=1),
    envelope("trade:executed", trade_id="a", price=1),
    envelope("trade:executed", trade_id="b", price=1.5),
    envelope("trade:executed", trade_id="c", price=2.5),
    envelope("trade:executed", trade_id="d", price="3"),
    envelope("channel:live", channels=["trades"], position="0badc0de:1"),
    envelope("operation:error", operation_id="o", code="x", message="y", recoverable=False),
    "",
    "{",
]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    texts = {
        "stricter.toml": STRICTER,
        "spoken.toml": SPOKEN,
        "renamed.toml": RENAMED,
        "lines.ndjson": "\n".join(LINES),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return {Path(name).stem: str(tmp_path / name) for name in texts}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, Path]]:
    """A hub with events of its own in its log, and its data folder."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "spoken.toml").write_text(SPOKEN)
    options = ("--data", str(folder / "data"), "--contract", str(folder / "spoken.toml"))
    with Hub(*options, memory=False) as running:
        lines = [
            envelope("trade:executed", trade_id=f"t{number}", price=number / 2 if number % 2 else number)
            for number in range(1_200)
        ]
        done = tidings("publish", "-", "--url", running.url, stdin="\n".join(lines))
        assert done.returncode == 0, done.stderr
        yield running, folder / "data"


def test_refusals_are_listed_by_type_and_path(files: dict[str, str]) -> None:
    done = tidings("contract", "check", files["lines"], "--contract", files["stricter"])
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        f"{files['lines']}: 6 events of 2 types, and 2 other messages.",
        "",
        "Refused:",
        "  trade:executed, 4 events",
        "    $.data.price: 3 times  [invalid_payload]",
        "      Expected `integer`, got `number` (first at line 3)",
        "  no envelope",
        "    $: 1 time  [invalid_json]",
        "      this is not JSON: Input data was truncated (first at line 9)",
        "",
        "Deprecated:",
        "  operation:error: 1 time, first at line 7. Publish operation:failed.",
        "",
        "4 of 6 would be refused (66.7 %).",
    ]


def test_against_counts_only_events_that_the_old_contract_accepts(files: dict[str, str]) -> None:
    arguments = ("contract", "check", files["lines"], "--contract", files["stricter"])
    done = tidings(*arguments, "--against", files["spoken"])
    assert done.returncode == 1
    assert "the old contract refuses 2 of them, too: 2 are new." in done.stdout
    same = tidings(*arguments, "--against", files["stricter"])
    assert same.returncode == 0
    assert "0 are new." in same.stdout
    wider = tidings(
        "contract", "check", files["lines"], "--contract", files["spoken"], "--against", files["stricter"], "--json"
    )
    assert wider.returncode == 0
    told = json.loads(wider.stdout)["against"]
    assert (told["accepted_now"], told["newly_refused"], told["refused_before"]) == (2, 0, 2)


def test_an_unknown_type_is_refused_with_the_nearest_name(files: dict[str, str]) -> None:
    done = tidings("contract", "check", files["lines"], "--contract", files["renamed"])
    assert done.returncode == 1
    assert "      Did you mean 'trade:execute'?" in done.stdout.splitlines()


def test_json_has_every_finding(files: dict[str, str]) -> None:
    done = tidings("contract", "check", "-", "--contract", files["stricter"], "--json", stdin="\n".join(LINES))
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["recording"], report["complete"]) == ("stdin", True)
    assert (report["events"], report["messages"], report["refused"]) == (6, 2, 4)
    assert report["types"] == {"operation:error": 1, "trade:executed": 4}
    assert report["findings"][0] == {
        "type": "trade:executed",
        "path": "$.data.price",
        "code": "invalid_payload",
        "count": 3,
        "first": "line 3",
        "message": "Expected `integer`, got `number`",
        "hint": "",
    }
    assert [(each["type"], each["count"]) for each in report["deprecated"]] == [("operation:error", 1)]


def test_valid_traffic_exits_with_0(files: dict[str, str]) -> None:
    done = tidings("contract", "check", "-", "--contract", files["spoken"], stdin="\n".join(LINES[:4]))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "Nothing would be refused."
    empty = tidings("contract", "check", "-")
    assert empty.returncode == 0
    assert empty.stdout.startswith("stdin: 0 events of 0 types.")


def test_a_compressed_recording_is_checked_even_if_truncated(files: dict[str, str], tmp_path: Path) -> None:
    packed = gzip.compress("\n".join(LINES[:4] * 200).encode())
    (tmp_path / "whole.ndjson.gz").write_bytes(packed)
    (tmp_path / "cut.ndjson.gz").write_bytes(packed[:-12])
    whole = tidings("contract", "check", str(tmp_path / "whole.ndjson.gz"), "--contract", files["spoken"], "--json")
    assert (whole.returncode, json.loads(whole.stdout)["events"]) == (0, 600)
    cut = tidings("contract", "check", str(tmp_path / "cut.ndjson.gz"), "--contract", files["spoken"], "--json")
    assert 0 < json.loads(cut.stdout)["events"] <= 600
    assert json.loads(cut.stdout)["complete"] is False
    assert "truncated" in cut.stderr


def test_an_endless_line_is_one_fault(files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "long.ndjson").write_text(f'{{"type":"{"x" * 5_000_000}"}}\n{LINES[1]}\n')
    done = tidings("contract", "check", str(tmp_path / "long.ndjson"), "--contract", files["spoken"], "--json")
    report = json.loads(done.stdout)
    assert (report["events"], report["refused"], report["findings"][0]["code"]) == (2, 1, "payload_too_large")


def test_a_log_in_use_and_its_copy_are_checked(hub: tuple[Hub, Path], files: dict[str, str], tmp_path: Path) -> None:
    running, folder = hub
    well = tidings("contract", "check", str(folder), "--contract", files["spoken"], "--json")
    report = json.loads(well.stdout)
    assert (well.returncode, report["types"]["trade:executed"]) == (0, 1_200)
    copy = tmp_path / "copy.db"
    assert tidings("data", "backup", str(copy), "--data", str(folder)).returncode == 0
    done = tidings("contract", "check", str(copy), "--contract", files["stricter"], "--json")
    (finding,) = json.loads(done.stdout)["findings"]
    assert (done.returncode, finding["path"], finding["count"]) == (1, "$.data.price", 600)
    with Process("watch", "*", "--since", "first", "--json", "--url", running.url) as watch:
        second = [json.loads(watch.read_until(f'"t{number}"')[-1]) for number in range(2)][1]
    assert finding["first"] == f"position {second['position']}"


def test_traffic_of_a_hub_is_checked_against_its_own_or_another_contract(
    hub: tuple[Hub, Path], files: dict[str, str]
) -> None:
    running, _ = hub
    own = tidings("contract", "check", running.http, "--json")
    assert (own.returncode, own.stderr) == (0, "")
    assert json.loads(own.stdout)["types"]["trade:executed"] == 1_200
    other = tidings("contract", "check", running.url, "--contract", files["stricter"], "--json")
    assert other.returncode == 1
    (finding,) = json.loads(other.stdout)["findings"]
    assert finding["count"] == 600
    assert "position " in finding["first"]
    everyone = tidings("contract", "check", running.http, "--contract", running.http, "--against", files["renamed"])
    assert everyone.returncode == 0
    assert "1,200 that the old contract refuses would be accepted." in everyone.stdout


def test_check_escapes_control_characters_of_a_recording(files: dict[str, str]) -> None:
    line = envelope("trade:executed\x1b[2J", trade_id="a")
    done = tidings("contract", "check", "-", "--contract", files["spoken"], stdin=line)
    assert "\x1b" not in done.stdout
    assert "trade:executed\\x1b[2J" in done.stdout


def test_ctrl_c_prints_the_results_so_far(files: dict[str, str]) -> None:
    with Terminal("contract", "check", "/dev/stdin", "--contract", files["stricter"]) as terminal:
        terminal.press("\n".join([*LINES[:5], ""]).encode())
        terminal.wait_for("4 events, 3 refused")
        terminal.press(b"\x03")
        assert terminal.wait() == 130
        assert "$.data.price: 3 times" in terminal.shown
        assert "interrupted after 4 events" in terminal.shown


def test_ctrl_c_in_a_pipe_prints_the_results_so_far(files: dict[str, str]) -> None:
    with Process("contract", "check", "-", "--contract", files["stricter"], "--json") as check:
        assert check.process.stdin is not None
        check.process.stdin.write("\n".join([*LINES[:5], ""]).encode() + b"x" * 100_000)
        check.process.stdin.flush()  # more than a pipe holds: what came before it was read
        check.signal(signal.SIGINT)
        code, stdout, stderr = check.wait()
    assert code == 130
    report = json.loads(stdout)
    assert (report["complete"], report["refused"]) == (False, 3)
    assert "interrupted" in stderr


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("no-such-file",), "cannot read 'no-such-file'"),
        ((".",), "a folder without a log"),
        (("http://127.0.0.1:9",), "no hub answers at 127.0.0.1:9"),
        (("-", "--contract", "nothing"), "invalid contract 'nothing'"),
        (("-", "--against", "no-such.toml"), "no-such.toml"),
        ((), "RECORDING"),
    ],
)
def test_unreadable_traffic_exits_with_2(
    arguments: tuple[str, ...], error: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Called(monkeypatch, capsys, "contract", "check", *arguments)
    assert (done.code, done.stdout) == (2, "")
    assert error in done.stderr


def test_a_foreign_database_and_a_foreign_server_are_refused(tmp_path: Path, files: dict[str, str]) -> None:
    (tmp_path / "other.db").write_bytes(b"SQLite format 3\x00" + bytes(200))
    assert tidings("contract", "check", str(tmp_path / "other.db")).returncode == 2
    with http_server(b'{"events":[]}') as other:
        done = tidings("contract", "check", other, "--contract", files["spoken"])
    assert done.returncode == 2
    assert "not from a hub of this version" in done.stderr
