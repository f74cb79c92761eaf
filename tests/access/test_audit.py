import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from tidings.access.audit import MAX_REFUSALS_PER_S, AuditFile, AuditRecord, AuditTrail, encode_record
from tidings.access.subjects import API_KEY_PREFIX
from tidings.access.tickets import TICKET_PREFIX
from tidings.exceptions import ConfigError

NOON_NS = 1_753_876_800_000_000_000
NOON = "2025-07-30T12:00:00Z"


def trail(now_s: float = 0.0) -> tuple[AuditTrail, list[AuditRecord]]:
    made = AuditTrail(lambda: NOON_NS, lambda: now_s)
    records: list[AuditRecord] = []
    made.sinks.append(records.append)
    return made, records


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def test_record_is_a_line_of_the_log_and_reaches_the_sinks() -> None:
    audit, records = trail()
    with capture_logs() as logged:
        audit.record("cancel", "accepted", subject="ada", address="192.0.2.1", operation_id="op-1", code=None)
    assert logged == [
        {
            "event": "cancel",
            "log_level": "info",
            "outcome": "accepted",
            "subject": "ada",
            "address": "192.0.2.1",
            "operation_id": "op-1",
        }
    ]
    line = msgspec.json.decode(encode_record(records[0]))
    assert line["at"].startswith("2025-07-30T12:00:00")
    assert (line["action"], line["operation_id"]) == ("cancel", "op-1")


def test_refusals_are_sampled_and_counted() -> None:
    now = [0.0]
    audit = AuditTrail(lambda: NOON_NS, lambda: now[0])
    records: list[AuditRecord] = []
    audit.sinks.append(records.append)
    for _ in range(MAX_REFUSALS_PER_S + 7):
        audit.record("publish", "refused", subject="eve", code="forbidden")
    audit.record("connect", "refused")
    assert len(records) == MAX_REFUSALS_PER_S + 1
    now[0] = 1.0
    audit.record("publish", "refused", subject="eve")
    audit.record("publish", "refused", subject="eve")
    assert [record.not_recorded for record in records[-2:]] == [7, 0]


def test_long_and_broken_facts_are_cut() -> None:
    audit, records = trail()
    audit.record("request", "refused", subject="x" * 5_000, path="\ud800/a\n")
    line = encode_record(records[0])
    assert len(line) < 600
    assert b"\n" not in line


@pytest.mark.parametrize(
    "secret",
    [
        f"{API_KEY_PREFIX}abcdefg2_{'abcdefghij234567' * 3}",
        f"{TICKET_PREFIX}{'Zx-9_' * 8}",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl",
    ],
    ids=["key", "ticket", "token"],
)
def test_secret_in_the_path_of_a_request_is_not_recorded(secret: str) -> None:
    audit, records = trail()
    with capture_logs() as logged:
        audit.record("request", "refused", path=f"/v1/operations/{secret}", method="GET")
        audit.record("publish", "refused", type="/" * 240 + secret)
    assert records[0].facts == {"path": "/v1/operations/REDACTED", "method": "GET"}
    assert all(secret[:12] not in f"{logged}{encode_record(record).decode()}" for record in records)


def test_failing_sink_stops_neither_the_hub_nor_other_sinks() -> None:
    audit, records = trail()

    def fail(record: AuditRecord) -> None:
        raise OSError

    audit.sinks.insert(0, fail)
    audit.record("admin", "accepted", subject="root")
    assert len(records) == 1


def test_file_is_private_appended_and_reopened(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    file = AuditFile(path, lambda: NOON)
    audit, _ = trail()
    audit.sinks.append(file.write)
    audit.record("connect", "accepted", subject="ada")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.rename(tmp_path / "audit.1")
    audit.record("connect", "accepted", subject="bob")
    file.reopen()
    audit.record("connect", "accepted", subject="eve")
    file.close()
    assert [line["subject"] for line in lines_of(tmp_path / "audit.1")] == ["ada", "bob"]
    assert [line["subject"] for line in lines_of(path)] == ["eve"]


def test_file_that_cannot_be_reopened_keeps_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    file = AuditFile(folder / "audit", lambda: NOON)
    folder.rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match="cannot open the audit log"):
        file.reopen()
    audit, _ = trail()
    audit.sinks.append(file.write)
    audit.record("admin", "accepted")
    file.close()
    assert len(lines_of(tmp_path / "moved" / "audit")) == 1


def test_pipe_that_no_one_reads_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="cannot open the audit log"):
        AuditFile(tmp_path / "pipe", lambda: NOON)


_FULL = """
import sys
from tests.file_limits import files_limited_to
from tidings.access.audit import AuditFile, AuditTrail
file = AuditFile(sys.argv[1], lambda: "2025-07-30T12:00:00Z")
audit = AuditTrail(lambda: 0, lambda: 0.0)
audit.sinks.append(file.write)
for number in range(2):
    audit.record("connect", "accepted", subject=f"before-{number}")
with files_limited_to(300):
    for number in range(5):
        audit.record("connect", "accepted", subject=f"lost-{number}")
audit.record("connect", "accepted", subject="after")
"""


def test_full_disk_loses_records_and_the_next_line_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    subprocess.run([sys.executable, "-c", _FULL, str(path)], check=True, capture_output=True, timeout=60)
    whole, broken = [], 0
    for line in path.read_bytes().splitlines():
        try:
            whole.append(msgspec.json.decode(line))
        except msgspec.DecodeError:
            broken += 1
    subjects = [line.get("subject") for line in whole]
    lost = next(line for line in whole if line["outcome"] == "lost")
    written = [subject for subject in subjects if subject and subject.startswith("lost")]
    assert subjects[:2] == ["before-0", "before-1"]
    assert subjects[-1] == "after"
    assert lost["records"] + len(written) == 5
    assert broken <= 1
