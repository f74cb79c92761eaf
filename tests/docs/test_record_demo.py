"""docs/demo.ndjson: it replays without errors, and matches the jobs of docs/record_demo.py."""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.hub_log import read_log
from tests.cli.processes import Hub, tidings

from docs import record_demo

ENDS = ("operation:complete", "operation:failed", "operation:cancelled")


def envelopes_of(lines: Iterable[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def ends_of(envelopes: Iterable[dict[str, Any]]) -> Counter[tuple[str, str]]:
    ended = ((each["data"].get("operation_id", ""), each["type"]) for each in envelopes if each["type"] in ENDS)
    return Counter((operation_id.partition("~")[0], type.partition(":")[2]) for operation_id, type in ended)


WANTED = Counter(
    {
        ("import-prices", "complete"): 1,
        ("refresh-indexes", "complete"): 1,
        ("train-forecast", "complete"): 1,
        ("newsletter", "failed"): 1,
        ("newsletter", "complete"): 1,
        ("copy-backup", "cancelled"): 1,
    }
)


def test_demo_plays_into_a_fresh_hub_and_again_with_new_ids() -> None:
    recorded = envelopes_of(record_demo.RECORDING.read_text().splitlines())
    with Hub("--log-level", "error") as hub:
        for options in ((), ("--new-ids",)):
            done = tidings("replay", str(record_demo.RECORDING), "--to", hub.url, "--speed", "max", *options)
            assert done.returncode == 0, done.stderr
            assert "refused" not in done.stderr
            assert "not ended" not in done.stderr
        played = read_log(hub)
    assert ends_of(recorded) == WANTED
    assert ends_of(played) == WANTED + WANTED
    types = {envelope["type"] for envelope in recorded if envelope.get("channel")} - {"operation:estimate"}
    assert types <= {event["type"] for event in played}
    assert {"report:ready", "system:alert", "operation:log", "data:processed"} <= types


def test_demo_is_short_small_and_names_no_machine() -> None:
    text = record_demo.RECORDING.read_text()
    received = [envelope["received"] for envelope in envelopes_of(text.splitlines()[2:])]
    assert received == sorted(received)
    assert (
        15
        < float(received[-1][17:19])
        - float(received[0][17:19])
        + 60 * (int(received[-1][14:16]) - int(received[0][14:16]))
        + 3600 * (int(received[-1][11:13]) - int(received[0][11:13]))
        < 40
    )
    assert len(gzip.compress(text.encode())) < 20_000
    assert not re.search(r'"[^"]*(?<![\w~./])/(?:home|root|work|Users)/', text)
    assert set(re.findall(r'"host":"([^"]*)"', text)) == {"laptop"}
    assert set(re.findall(r'"user":"([^"]*)"', text)) == {"ada"}


def test_new_recording_has_the_same_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_TIME", "0.05")
    monkeypatch.setenv("TIDINGS_SPOOL", str(tmp_path / "spool"))
    path = tmp_path / "demo.ndjson"
    record_demo.record(path)
    recorded = envelopes_of(record_demo.anonymous(line) for line in path.read_text().splitlines())
    assert ends_of(recorded) == WANTED
    header = recorded[0]
    assert (header["type"], header["data"]["url"]) == ("tidings:recording", "ws://127.0.0.1:8765/ws")
    assert {envelope["data"].get("host", "laptop") for envelope in recorded} == {"laptop"}
