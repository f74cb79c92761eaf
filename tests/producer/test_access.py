"""Producers and a hub that identifies them."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.access.token_table import TokenTable
from tests.client.hub_server import TIMEOUT_S, HubServer
from tests.client.waiting import PROMPT
from tests.producer.drafts import draft
from tests.producer.held import told, until

import tidings
from tidings.client.tokens import Token
from tidings.contract.contract import Contract
from tidings.exceptions import Forbidden, InvalidToken, TidingsError
from tidings.producer.outbox.outbox import Outbox
from tidings.producer.runtime import RUNTIME
from tidings.producer.spool.directory import SpoolOptions
from tidings.producer.spool.file import SpooledEvent, SpoolFile, SpoolHeader, parse_spool
from tidings.producer.spool.recovery import RecoveryResult, recover_all

PATIENT = msgspec.structs.replace(PROMPT, wait_for_hub=True, wait_for_token=True)
GRANTS = ("publish operations", "read operations", "cancel operations")


@pytest.fixture
def tokens() -> TokenTable:
    return TokenTable(time.time_ns)


@pytest.fixture
def hub(tokens: TokenTable) -> Iterator[HubServer]:
    with HubServer(access=tokens.options) as server:
        yield server


def spool_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "spool").glob("*.ndjson"))


def header_of(path: Path) -> SpoolHeader:
    header, _ = parse_spool(path.read_bytes())
    assert header is not None
    return header


def report_operation(outbox: Outbox, operation_id: str) -> None:
    outbox.put_nowait("operation:start", {"operation_id": operation_id, "name": "import"})
    outbox.put_nowait("operation:complete", {"operation_id": operation_id})


def leave(url: str, token: Token, operation_id: str = "op-1", errors: list[TidingsError] | None = None) -> None:
    """Report an operation that the hub does not take, and end."""
    with Outbox(url, token=token, options=PATIENT, on_error=None if errors is None else errors.append) as outbox:
        report_operation(outbox, operation_id)
        until(lambda: bool(errors) or errors is None)


def recover(url: str, token: Token) -> list[RecoveryResult]:
    options = msgspec.structs.replace(PROMPT, token=token)
    return asyncio.run(recover_all(url, options, Contract(), SpoolOptions(), timeout_s=TIMEOUT_S))


def test_operation_reports_with_its_token(hub: HubServer, tokens: TokenTable, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens.add("secret", *GRANTS, name="ann")
    monkeypatch.setenv("TIDINGS_URL", hub.url)
    with tidings.operation("import", token=lambda: "secret") as op:
        op.progress(50)
    assert RUNTIME.close(TIMEOUT_S, patient=True) == 0
    assert [kind for kind, _ in told(hub)] == ["start", "progress", "complete"]


def test_refused_token_does_not_hurt_the_job_and_loses_no_end(
    hub: HubServer,
    tokens: TokenTable,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIDINGS_URL", hub.url)
    with tidings.operation("import", token="hunter2", id="op-1"):
        pass
    RUNTIME.close()
    errors = capfd.readouterr().err.splitlines()
    assert len([line for line in errors if line.startswith("tidings: ")]) == 1
    assert "The job continues" in errors[-1]
    assert "hunter2" not in "".join(errors)
    (path,) = spool_files(tmp_path)
    assert b"hunter2" not in path.read_bytes()
    tokens.add("hunter2", *GRANTS)
    (recovered,) = recover(hub.url, "hunter2")
    assert (recovered.sent, recovered.left) == (2, 0)
    assert [(kind, data["operation_id"]) for kind, data in told(hub)] == [("start", "op-1"), ("complete", "op-1")]


def test_producer_goes_on_with_the_next_token_of_its_file(
    hub: HubServer, tokens: TokenTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens.add("right", *GRANTS)
    (tmp_path / "token").write_text("wrong")
    monkeypatch.setenv("TIDINGS_TOKEN_FILE", str(tmp_path / "token"))
    errors: list[TidingsError] = []
    with Outbox(hub.url, options=PATIENT, on_error=errors.append) as outbox:
        report_operation(outbox, "op-1")
        until(lambda: bool(errors))
        (tmp_path / "token").write_text("right\n")
        assert outbox.flush(TIMEOUT_S) == 0
    assert [type(error) for error in errors] == [InvalidToken]
    assert spool_files(tmp_path) == []


def test_leases_survive_a_new_token_on_the_same_connection(hub: HubServer, tokens: TokenTable) -> None:
    issued = 0

    def token() -> str:
        nonlocal issued
        issued += 1
        # The hub asks for the next token a fifth of this life ahead: in one second, with a minute for the answer.
        return tokens.add(f"token-{issued}", *GRANTS, name="ann", expires_s=61.0, issued_s=240.0)

    with Outbox(hub.url, token=token, options=PATIENT) as outbox:
        outbox.put_nowait("operation:start", {"operation_id": "op-1", "name": "import"})
        assert outbox.flush(TIMEOUT_S) == 0
        until(lambda: issued >= 3)
        outbox.put_nowait("operation:complete", {"operation_id": "op-1"})
        assert outbox.flush(TIMEOUT_S) == 0
    assert hub.call(lambda: hub.app.connections.opened) == 1
    assert [kind for kind, _ in told(hub)] == ["start", "complete"], "the operation was never lost and begun again"


class TestSpools:
    def test_spool_names_its_owner_and_no_secret(self, tokens: TokenTable, tmp_path: Path) -> None:
        with HubServer() as hub:
            url = hub.url
        leave(url, "tdk_abcd_hunter2")
        (path,) = spool_files(tmp_path)
        assert (header_of(path).owner, header_of(path).subject) == ("key abcd", "")
        assert b"hunter2" not in path.read_bytes()

    def test_spool_names_its_subject_once_known(self, hub: HubServer, tokens: TokenTable, tmp_path: Path) -> None:
        tokens.add("secret", *GRANTS, name="ann")
        with Outbox(hub.url, token="secret", options=PATIENT) as outbox:
            outbox.put_nowait("operation:start", {"operation_id": "op-1", "name": "import"})
            assert outbox.flush(TIMEOUT_S) == 0
            (path,) = spool_files(tmp_path)
            assert (header_of(path).owner, header_of(path).subject) == ("opaque", "ann")
            outbox.put_nowait("operation:complete", {"operation_id": "op-1"})
            assert outbox.flush(TIMEOUT_S) == 0

    def test_spool_of_another_subject_is_left_alone(self, tokens: TokenTable, tmp_path: Path) -> None:
        tokens.add("of-ann", *GRANTS, name="ann")
        tokens.add("of-bob", *GRANTS, name="bob")
        with HubServer(access=tokens.options) as hub:
            port = hub.port
        leave(hub.url, "of-ann")
        (path,) = spool_files(tmp_path)
        file = SpoolFile.open_dead(path)
        assert file is not None
        file.give_owner(msgspec.structs.replace(file.header, subject="ann"))
        file.close()
        with HubServer(port, access=tokens.options) as hub:
            (refused,) = recover(hub.url, "of-bob")
            assert isinstance(refused.error, Forbidden)
            assert "'ann'" in str(refused.error)
            assert "'bob'" in str(refused.error)
            assert (refused.sent, refused.left) == (0, 2)
            assert told(hub) == []
            with Outbox(hub.url, token="of-bob", options=PATIENT) as outbox:
                report_operation(outbox, "op-2")
                assert outbox.flush(TIMEOUT_S) == 0
            assert spool_files(tmp_path) == [path], "nor does another producer send it"
            (sent,) = recover(hub.url, "of-ann")
            assert (sent.sent, sent.left) == (2, 0)

    def test_spool_that_was_written_without_a_token_is_sent_with_any(self, tokens: TokenTable) -> None:
        tokens.add("secret", *GRANTS)
        with HubServer() as hub:
            port = hub.port
        leave(hub.url, "")
        with HubServer(port, access=tokens.options) as hub:
            (sent,) = recover(hub.url, "secret")
            assert (sent.sent, sent.left) == (2, 0)

    def test_spool_is_sent_to_a_hub_without_authentication(self, tokens: TokenTable) -> None:
        with HubServer() as hub:
            port = hub.port
        leave(hub.url, "tdk_abcd_hunter2")
        with HubServer(port) as hub:
            (sent,) = recover(hub.url, "tdk_wxyz_another")
            assert (sent.sent, sent.left) == (2, 0)

    def test_recovery_with_a_refused_token_leaves_everything(self, tokens: TokenTable, tmp_path: Path) -> None:
        with HubServer() as hub:
            port = hub.port
        leave(hub.url, "secret")
        with HubServer(port, access=tokens.options) as hub:
            (left,) = recover(hub.url, "secret")
            assert isinstance(left.error, InvalidToken)
            assert left.left == 2
        assert len(spool_files(tmp_path)) == 1

    @pytest.mark.parametrize(
        ("written", "sent", "allowed"),
        [
            (("", ""), ("key a", "ann"), True),
            (("key a", ""), ("key a", "ann"), True),
            (("key a", ""), ("key b", "ann"), False),
            (("key a", "ann"), ("key b", "ann"), True),
            (("key a", "ann"), ("key a", "bob"), False),
            (("key a", "ann"), ("", ""), True),
            (("key a", "ann"), ("key a", None), True),
            (("key a", "ann"), ("key b", None), False),
            (("key a", ""), ("", None), False),
        ],
    )
    def test_rule_of_owners(self, written: tuple[str, str], sent: tuple[str, str | None], allowed: bool) -> None:
        header = SpoolHeader(url="u", producer_id="p", pid=1, owner=written[0], subject=written[1])
        assert header.belongs_to(*sent) is allowed

    def test_header_of_an_older_version_is_kept_when_its_events_are_done(self, tmp_path: Path) -> None:
        folder = tmp_path / "spool"
        header = SpoolHeader(url="ws://h/ws", producer_id="p", pid=1)
        folder.mkdir()
        file = SpoolFile.create(folder, header)
        path = file.path
        file.close()
        old = {"spool": 1, "url": "ws://h/ws", "producer_id": "p", "pid": 1}
        path.write_bytes(msgspec.json.encode(old) + b"\n")
        opened = SpoolFile.open_dead(path)
        assert opened is not None
        assert opened.header == header
        kept = SpooledEvent(draft=draft(1))
        opened.keep(kept)
        opened.done(kept.draft.event_id)
        assert path.read_bytes() == msgspec.json.encode(old) + b"\n"
        opened.close()
