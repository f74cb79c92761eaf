"""Recovery of the events of dead processes: real processes, really killed, and others that send their events."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw
from tests.client.hub_server import QUIET, TIMEOUT_S, HubServer
from tests.client.waiting import PROMPT
from tests.file_limits import files_limited_to
from tests.producer.held import told, until

from tidings.client.drafts import Draft
from tidings.contract.contract import Contract
from tidings.exceptions import CommandRefused, HubUnreachable, LogFull, TidingsError
from tidings.log.memory import MemoryLog
from tidings.producer.outbox.outbox import Outbox
from tidings.producer.spool.directory import SpoolOptions
from tidings.producer.spool.file import SpooledEvent, SpoolFile, SpoolHeader
from tidings.producer.spool.recovery import RecoveryResult, count_left_behind, delete_expired, recover_all
from tidings.testing.faulty_log import FaultyLog

PROGRAM = [sys.executable, "-W", "error", "-m", "tests.producer.dying_program"]
PATIENT = msgspec.structs.replace(PROMPT, wait_for_hub=True)


@pytest.fixture
def port() -> int:
    """A port where no hub is yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def spool(tmp_path: Path) -> SpoolOptions:
    return SpoolOptions(folder=tmp_path / "spool")


@contextlib.contextmanager
def dying(url: str, operation_id: str, mode: str, spool: SpoolOptions) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {**os.environ, "TIDINGS_SPOOL": str(spool.folder)}
    process = subprocess.Popen(
        [*PROGRAM, url, operation_id, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process
    finally:
        process.kill()
        process.wait(TIMEOUT_S)
        process.stdin.close()
        process.stdout.close()


def line(process: "subprocess.Popen[bytes]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(TIMEOUT_S)


def die_unreported(port: int, spool: SpoolOptions, operation_id: str = "op-1") -> None:
    """Run a program that reports without a hub, and kill it."""
    with dying(f"ws://127.0.0.1:{port}/ws", operation_id, "ends", spool) as process:
        assert line(process) == "done"
        kill(process)


def adopt(hub: HubServer, spool: SpoolOptions) -> list[RecoveryResult]:
    return asyncio.run(recover_all(hub.url, PROMPT, Contract(), spool, timeout_s=TIMEOUT_S))


def life(hub: HubServer, operation_id: str = "op-1") -> tuple[int, str]:
    found = hub.call(lambda: hub.app.hub.operations.life(operation_id))
    assert found is not None
    return found.attempt, str(found.state)


class TestNextOutbox:
    def test_recovery_sends_the_events_of_a_killed_producer(self, port: int, spool: SpoolOptions) -> None:
        die_unreported(port, spool)
        with HubServer(port) as hub:
            with Outbox(hub.url, spool=spool) as outbox:
                outbox.put_nowait("data:update", {"dataset": "mine"})
                assert outbox.close(TIMEOUT_S, patient=True) == 0
            assert [kind for kind, _ in told(hub) if kind != "data:update"] == ["start", "complete"]
            assert life(hub) == (1, "complete")
            with Outbox(hub.url, spool=spool) as another:
                another.put_nowait("data:update", {"dataset": "mine"})
                assert another.close(TIMEOUT_S, patient=True) == 0
            assert len(told(hub)) == 4, "once"
        assert spool.folder is not None
        assert list(spool.folder.iterdir()) == []

    def test_recovery_skips_events_for_another_hub(self, port: int, spool: SpoolOptions) -> None:
        die_unreported(port, spool)
        with HubServer() as other:
            with Outbox(other.url, spool=spool) as outbox:
                outbox.put_nowait("data:update")
                assert outbox.close(TIMEOUT_S, patient=True) == 0
            assert len(told(other)) == 1
        assert count_left_behind(f"ws://127.0.0.1:{port}/ws", spool) == 2

    def test_recovery_sends_the_events_of_a_closed_producer(self, port: int, spool: SpoolOptions) -> None:
        with dying(f"ws://127.0.0.1:{port}/ws", "op-1", "closes", spool) as process:
            assert [line(process), line(process)] == ["done", "52"]
            assert process.wait(TIMEOUT_S) == 0
        with HubServer(port) as hub:
            (recovered,) = adopt(hub, spool)
            assert (recovered.sent, recovered.left, recovered.pid) == (2, 0, process.pid)

    def test_recovery_skips_the_file_of_a_living_producer(self, port: int, spool: SpoolOptions) -> None:
        url = f"ws://127.0.0.1:{port}/ws"
        with dying(url, "op-1", "ends", spool) as process:
            assert line(process) == "done"
            assert count_left_behind(url, spool) == 0
            with HubServer(port) as hub:
                assert adopt(hub, spool) == []
                until(lambda: "complete" in [kind for kind, _ in told(hub)])
                assert Counter(kind for kind, _ in told(hub)) == {"start": 1, "log": 50, "complete": 1}


class TestRecovery:
    def test_recovery_does_not_store_events_again(self, port: int, spool: SpoolOptions) -> None:
        """The connection broke between the hub's log and its answer; the same log is served again."""
        die_unreported(port, spool)
        assert spool.folder is not None
        (path,) = spool.folder.iterdir()
        left = path.read_bytes()
        with HubServer(port) as hub:
            adopt(hub, spool)
            path.write_bytes(left)
            (again,) = adopt(hub, spool)
            assert (again.sent, again.known, again.refused, again.left) == (0, 2, 0, 0)
            assert [kind for kind, _ in told(hub)] == ["start", "complete"]

    def test_recovery_restarts_and_ends_an_operation_that_the_hub_failed(self, port: int, spool: SpoolOptions) -> None:
        """The hub stopped, the job completed and its process exited; the hub returned, and the lease expired."""
        log = MemoryLog("epoch")
        config = msgspec.structs.replace(QUIET, lease_s=1.0)
        with contextlib.ExitStack() as processes:
            with HubServer(port, config=config, event_log=log) as first:
                process = processes.enter_context(dying(first.url, "op-1", "starts", spool))
                assert line(process) == "started"
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert line(process) == "done"
            kill(process)
        with HubServer(port, config=config, event_log=log) as hub:
            until(lambda: life(hub) == (1, "failed"))
            (recovered,) = adopt(hub, spool)
            assert (recovered.sent, recovered.refused, recovered.left) == (1, 0, 0)
            assert life(hub) == (2, "complete")
            start = [data for kind, data in told(hub) if kind == "start"][1]
            assert (start["name"], start["resumes"], start["attempt"]) == ("import", "op-1", 2)

    def test_recovery_leaves_an_operation_with_a_newer_attempt(self, port: int, spool: SpoolOptions) -> None:
        log = MemoryLog("epoch")
        config = msgspec.structs.replace(QUIET, lease_s=1.0)
        with contextlib.ExitStack() as processes:
            with HubServer(port, config=config, event_log=log) as first:
                process = processes.enter_context(dying(first.url, "op-1", "starts", spool))
                assert line(process) == "started"
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert line(process) == "done"
            kill(process)
        with HubServer(port, config=config, event_log=log) as hub:
            until(lambda: life(hub) == (1, "failed"))
            with Outbox(hub.url, spool=None) as retry:
                retry.put_nowait("operation:start", {"operation_id": "op-1"})
                assert retry.flush(TIMEOUT_S) == 0
                (recovered,) = adopt(hub, spool)
                assert (recovered.sent, recovered.refused, recovered.left) == (0, 1, 0)
                assert life(hub) == (2, "running")
                retry.put_nowait(
                    "operation:failed", {"operation_id": "op-1", "code": "x", "message": "", "recoverable": False}
                )
        assert count_left_behind(hub.url, spool) == 0

    def test_recovery_without_a_hub_keeps_everything(self, port: int, spool: SpoolOptions) -> None:
        die_unreported(port, spool)
        url = f"ws://127.0.0.1:{port}/ws"
        (recovered,) = asyncio.run(recover_all(url, PROMPT, Contract(), spool, timeout_s=5))
        assert (recovered.sent, recovered.left) == (0, 2)
        assert isinstance(recovered.error, HubUnreachable)
        assert count_left_behind(url, spool) == 2

    def test_recovery_keeps_events_that_the_hub_cannot_store_now(self, port: int, spool: SpoolOptions) -> None:
        die_unreported(port, spool)
        faulty = FaultyLog(MemoryLog("epoch"))
        with HubServer(port, event_log=faulty) as hub:
            hub.call(lambda: faulty.fail_append(LogFull("the disk is full")))
            (recovered,) = adopt(hub, spool)
            assert (recovered.sent, recovered.left) == (0, 2), "no end goes out before its start is stored"
            assert isinstance(recovered.error, CommandRefused)
            adopt(hub, spool)
            assert life(hub) == (1, "complete")
            assert count_left_behind(hub.url, spool) == 0

    def test_recovery_times_out_if_the_hub_does_not_answer(self, port: int, spool: SpoolOptions) -> None:
        die_unreported(port, spool)
        with socket.create_server(("127.0.0.1", port)):
            url = f"ws://127.0.0.1:{port}/ws"
            (recovered,) = asyncio.run(recover_all(url, PROMPT, Contract(), spool, timeout_s=0.2))
            assert (recovered.sent, recovered.left) == (0, 2)
            assert count_left_behind(url, spool) == 2

    async def test_concurrent_recoveries_send_everything_once(self, port: int, spool: SpoolOptions) -> None:
        for number in range(6):
            await asyncio.to_thread(die_unreported, port, spool, f"op-{number}")
        with HubServer(port) as hub:
            both = await asyncio.gather(
                *(recover_all(hub.url, PROMPT, Contract(), spool, timeout_s=TIMEOUT_S) for _ in range(2))
            )
            recovered = [one for some in both for one in some]
            assert sum(one.sent for one in recovered) == 12
            assert Counter(kind for kind, _ in told(hub)) == {"start": 6, "complete": 6}
        assert count_left_behind(hub.url, spool) == 0


def leave(spool: SpoolOptions, url: str, name: str, *events: tuple[str, bytes]) -> Path:
    """Leave a dead producer's file with events that an older version of this package took."""
    assert spool.folder is not None
    spool.folder.mkdir(exist_ok=True)
    file = SpoolFile.create(spool.folder, SpoolHeader(url=url, producer_id=name, pid=1))
    for number, (type, data) in enumerate(events):
        draft = Draft(type=type, data=Raw(data), timestamp="", event_id=f"{name}-{number}".ljust(16, "x"))
        file.keep(SpooledEvent(draft=draft))
    file.close()
    return file.path


DEEP = b'{"operation_id":"op-deep","result":%b}' % (b"[" * 80 + b"]" * 80)


class TestRejected:
    def test_rejected_event_is_set_aside_and_those_behind_it_are_sent(self, port: int, spool: SpoolOptions) -> None:
        with HubServer(port) as hub:
            path = leave(
                spool,
                hub.url,
                "p-1",
                ("operation:start", b'{"operation_id":"op-deep"}'),
                ("operation:complete", DEEP),
                ("no:such_type", b"{}"),
                ("operation:start", b'{"operation_id":"op-2"}'),
                ("operation:complete", b'{"operation_id":"op-2"}'),
            )
            leave(spool, hub.url, "p-2", ("operation:start", b'{"operation_id":"op-3","queued":true}'))
            first, second = sorted(adopt(hub, spool), key=lambda result: result.producer_id)
            assert (first.sent, first.rejected, first.left, first.error) == (3, 2, 0, None)
            assert (second.sent, second.rejected, second.left) == (1, 0, 0)
            assert life(hub, "op-deep") == (1, "complete"), "the end without its result"
            assert life(hub, "op-2") == (1, "complete")
            assert adopt(hub, spool) == []
        assert first.rejected_file == path.with_suffix(".rejected")
        kept = [msgspec.json.decode(line) for line in first.rejected_file.read_bytes().splitlines()]
        kept.sort(key=lambda line: line["code"])
        assert [(line["code"], line["event"]["type"]) for line in kept] == [
            ("too_deep", "operation:complete"),
            ("unknown_type", "no:such_type"),
        ]
        assert kept[0]["event"]["data"] == msgspec.json.decode(DEEP)
        assert first.rejected_file.stat().st_mode & 0o077 == 0

    def test_half_a_line_in_the_file_of_rejected_events_spoils_no_other(self, port: int, spool: SpoolOptions) -> None:
        with HubServer(port) as hub:
            path = leave(spool, hub.url, "p-1", ("no:such_type", b"{}"))
            path.with_suffix(".rejected").write_bytes(b'{"rejected":"2026-')
            (result,) = adopt(hub, spool)
        assert (result.rejected, result.left) == (1, 0)
        half, line = path.with_suffix(".rejected").read_bytes().splitlines()
        assert half == b'{"rejected":"2026-'
        assert msgspec.json.decode(line)["code"] == "unknown_type"

    def test_event_that_cannot_be_set_aside_stays_and_holds_up_no_other(self, port: int, spool: SpoolOptions) -> None:
        events = [("no:such_type", b"{}"), ("operation:start", b'{"operation_id":"op-2","queued":true}')]
        with HubServer(port) as hub:
            path = leave(spool, hub.url, "p-1", *events)
            path.with_suffix(".rejected").mkdir()
            (result,) = adopt(hub, spool)
            assert (result.sent, result.rejected, result.left) == (1, 0, 1)
            assert isinstance(result.error, CommandRefused)
            path.with_suffix(".rejected").rmdir()
            (result,) = adopt(hub, spool)
            assert (result.sent, result.rejected, result.left) == (0, 1, 0)

    def test_full_disk_holds_up_no_event(self, port: int, spool: SpoolOptions) -> None:
        with HubServer(port) as hub:
            path = leave(
                spool,
                hub.url,
                "p-1",
                ("operation:start", b'{"operation_id":"op-1"}'),
                ("operation:complete", b'{"operation_id":"op-1"}'),
            )
            with files_limited_to(path.stat().st_size):
                (result,) = adopt(hub, spool)
            assert (result.sent, result.left, result.error) == (2, 0, None)
            assert life(hub, "op-1") == (1, "complete")

    def test_old_file_of_rejected_events_is_deleted(self, spool: SpoolOptions) -> None:
        assert spool.folder is not None
        spool.folder.mkdir()
        old, new = spool.folder / "a.rejected", spool.folder / "b.rejected"
        for path in (old, new):
            path.write_text("{}")
        os.utime(old, (0, 0))
        assert delete_expired(spool) == 0, "they hold nothing to send"
        assert list(spool.folder.iterdir()) == [new]


class TestFork:
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_forked_child_and_parent_send_their_own_events_once(self, port: int, spool: SpoolOptions) -> None:
        with HubServer(port) as hub, dying(hub.url, "op-1", "forks", spool) as process:
            assert line(process) == "done"
            until(lambda: len(told(hub)) == 54)
            assert Counter((kind, data["operation_id"]) for kind, data in told(hub)) == {
                ("start", "op-1"): 1,
                ("log", "op-1"): 50,
                ("complete", "op-1"): 1,
                ("start", "op-1-child"): 1,
                ("complete", "op-1-child"): 1,
            }
            kill(process)
            until(lambda: hub.connections() == 0)

    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_forked_child_does_not_send_the_parents_events(self, port: int, spool: SpoolOptions) -> None:
        outbox = Outbox(f"ws://127.0.0.1:{port}/ws", spool=spool, options=PATIENT)
        outbox.put_nowait("operation:start", {"operation_id": "op-1"})
        if (pid := os.fork()) == 0:
            status = 1
            try:
                figures = outbox.statistics()
                assert (figures.waiting, outbox.close(0.0)) == (0, 0)
                assert count_left_behind(f"ws://127.0.0.1:{port}/ws", spool) == 0, "the parent's lock holds"
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        with HubServer(port) as hub:
            assert outbox.close(TIMEOUT_S, patient=True) == 0
            assert [kind for kind, _ in told(hub)] == ["start"]


class TestNoPlace:
    def test_outbox_works_without_a_spool_folder(self, tmp_path: Path) -> None:
        blocked = tmp_path / "file"
        blocked.write_text("no folder")
        errors: list[TidingsError] = []
        with HubServer() as hub:
            spool = SpoolOptions(folder=blocked / "spool")
            with Outbox(hub.url, spool=spool, on_error=errors.append) as outbox:
                outbox.put_nowait("operation:start", {"operation_id": "op-1"})
                outbox.put_nowait("operation:complete", {"operation_id": "op-1"})
                assert outbox.close(TIMEOUT_S, patient=True) == 0
            assert [kind for kind, _ in told(hub)] == ["start", "complete"]
        assert [trouble.code for trouble in errors] == ["invalid_config"]

    @pytest.mark.parametrize("spool", [None, False])
    def test_outbox_without_a_spool_writes_nothing(self, port: int, spool: bool | None, tmp_path: Path) -> None:
        outbox = Outbox(f"ws://127.0.0.1:{port}/ws", spool=spool, options=PATIENT)
        outbox.put_nowait("operation:start", {"operation_id": "op-1"})
        assert outbox.close(0.0) == 1
        assert not (tmp_path / "spool").exists()

    def test_outbox_ended_for_good_still_spools_ends(self, spool: SpoolOptions) -> None:
        with HubServer() as hub:
            outbox = Outbox(hub.url, spool=spool, options=PATIENT)
            outbox.put_nowait("operation:start", {"operation_id": "op-1"})
            assert outbox.flush(TIMEOUT_S) == 0
            hub.close_all(4003, "no more of you")
            until(lambda: not outbox.put_nowait("operation:log", {"operation_id": "op-1", "message": "m"}))
            assert outbox.put_nowait("operation:complete", {"operation_id": "op-1"})
            assert outbox.close(5.0) >= 1
            assert count_left_behind(hub.url, spool) == 1
