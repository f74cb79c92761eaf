"""`tidings serve --workers`: real processes that share sockets and a folder."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
from tests.cli.processes import TIMEOUT_S, Process, tidings
from tests.cli.serve.worker_processes import (
    EVENT,
    WorkersHub,
    has_history,
    history,
    is_ready,
    is_running,
    kill,
    wait_until,
)

from tidings.log.journal.controls import Begin
from tidings.log.journal.entries import RULES, NodeBatch, encode_batch
from tidings.log.journal.sqlite_file import SCHEMA_VERSION
from tidings.server.workers.supervisor import MAX_DEATHS


def test_workers_share_one_log_whose_positions_are_alike(tmp_path: Path) -> None:
    with WorkersHub(tmp_path / "data", 2) as hub, ExitStack() as stack:
        assert hub.ready == f"ws://127.0.0.1:{hub.port}/ws http://127.0.0.1:{hub.port}/\n"
        assert len(hub.workers()) == 2
        clients = list(hub.connect_to_each(stack).values())
        for number in range(10):
            answer = clients[number % 2].post(f"{hub.http}v1/events", json=EVENT)
            assert answer.status_code == 200, answer.text
        wait_until(lambda: len(history(hub, clients[0])) == len(history(hub, clients[1])) == 10)
        assert history(hub, clients[0]) == history(hub, clients[1])
        middle = history(hub, clients[0])[4]
        for client in clients:
            page = client.get(f"{hub.http}v1/events?channel=data&since={middle}").json()
            assert (len(page["events"]), page.get("gap")) == (5, None)
        workers = [worker.pid for worker in hub.workers()]
        code, stdout, stderr = hub.stop()
    assert (code, stdout) == (0, "")
    assert not any(map(is_running, workers))
    assert "Traceback" not in stderr
    assert re.search(r"hub ready.* workers=2", stderr)
    assert {match[1] for match in re.finditer(r"worker ready.* worker=([0-9])", stderr)} == {"1", "2"}


def test_worker_that_is_killed_is_replaced_and_no_connection_is_reset(tmp_path: Path) -> None:
    with WorkersHub(tmp_path / "data", 2) as hub:
        before = {worker.pid for worker in hub.workers()}
        position = httpx.post(f"{hub.http}v1/events", json=EVENT).json()["position"]
        kill(hub.workers()[0])
        with ThreadPoolExecutor(20) as pool:  # some of them wait for the worker that starts
            answers = list(pool.map(lambda _: httpx.get(f"{hub.http}healthz", timeout=TIMEOUT_S), range(40)))
        assert {answer.status_code for answer in answers} == {200}
        wait_until(lambda: len({worker.pid for worker in hub.workers()} - before) == 1)
        with ExitStack() as stack:
            for client in hub.connect_to_each(stack).values():
                wait_until(partial(is_ready, hub, client))
                assert history(hub, client) == [position]
        code, _, stderr = hub.stop()
    assert code == 0
    assert re.search(r"a worker died.* reason='signal 9' worker=", stderr)


def test_worker_that_is_told_to_end_is_replaced_without_counting_as_a_death(tmp_path: Path) -> None:
    with WorkersHub(tmp_path / "data", 2) as hub:
        for _ in range(2):  # a rolling restart
            for worker in hub.workers():
                worker.send_signal(signal.SIGTERM)
                worker.wait(TIMEOUT_S)
                wait_until(lambda: len(hub.workers()) == 2)
        with ExitStack() as stack:
            for client in hub.connect_to_each(stack).values():
                wait_until(partial(is_ready, hub, client))
        code, _, stderr = hub.stop()
    assert code == 0
    assert "died" not in stderr


def test_workers_that_die_again_and_again_end_the_hub(tmp_path: Path) -> None:
    with WorkersHub(tmp_path / "data", 2) as hub:
        killed: set[int] = set()

        def kill_next() -> bool:
            fresh = [worker for worker in hub.workers() if worker.pid not in killed]
            if fresh and len(killed) < MAX_DEATHS:
                kill(fresh[0])
                killed.add(fresh[0].pid)
            return len(killed) == MAX_DEATHS

        wait_until(kill_next)
        code, _, stderr = hub.wait()
    assert code == 1
    assert f"error: {MAX_DEATHS} workers died within 60 s; the last one with signal 9" in stderr
    assert "Traceback" not in stderr


def test_workers_of_a_killed_parent_end_and_the_next_hub_starts(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with WorkersHub(folder, 2) as hub:
        position = httpx.post(f"{hub.http}v1/events", json=EVENT).json()["position"]
        workers = [worker.pid for worker in hub.workers()]
        hub.process.kill()
        wait_until(lambda: psutil.Process(hub.process.pid).status() == psutil.STATUS_ZOMBIE)
        with WorkersHub(folder, 2, port=hub.port) as second:
            assert not any(map(is_running, workers))
            with httpx.Client() as client:
                assert history(second, client) == [position]
            assert second.stop()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_workers_start_ends_them(tmp_path: Path, number: signal.Signals) -> None:
    process = Process("serve", "--port", "0", "--workers", "2", "--data", str(tmp_path / "data"))
    with process:
        parent = psutil.Process(process.process.pid)
        wait_until(lambda: parent.children())
        workers = [worker.pid for worker in parent.children()]
        process.signal(signal.SIGHUP)  # a worker that starts would end by it
        process.signal(number)
        code, stdout, stderr = process.wait()
    assert (code, stdout) == (0, ""), stderr
    assert not any(map(is_running, workers))
    assert "Traceback" not in stderr
    assert "died" not in stderr


def test_reload_while_workers_start_ends_none(tmp_path: Path) -> None:
    process = Process("serve", "--port", "0", "--workers", "2", "--data", str(tmp_path / "data"))
    with process:
        parent = psutil.Process(process.process.pid)
        wait_until(lambda: parent.children())
        process.signal(signal.SIGHUP)
        assert process.read_line().startswith("ws://")
        process.signal(signal.SIGTERM)
        code, _, stderr = process.wait()
    assert code == 0
    assert "died" not in stderr
    assert "nothing to reload" in stderr


def test_worker_that_cannot_start_is_tried_again_while_another_serves(tmp_path: Path) -> None:
    config = tmp_path / "tidings.toml"
    config.touch()
    with WorkersHub(tmp_path / "data", 2, "--config", str(config)) as hub:
        kept, killed = hub.workers()
        config.write_text("lease = ")
        kill(killed)
        seen = {kept.pid, killed.pid}

        def has_tried(times: int) -> bool:
            seen.update(worker.pid for worker in hub.workers())
            return len(seen) >= 2 + times

        wait_until(partial(has_tried, MAX_DEATHS))  # with the death above, more than end a hub
        with httpx.Client(timeout=TIMEOUT_S) as client:
            assert is_ready(hub, client)
        config.write_text("")
        with ExitStack() as stack:
            for client in hub.connect_to_each(stack).values():
                wait_until(partial(is_ready, hub, client))
        assert is_running(kept.pid)
        code, _, stderr = hub.stop()
    assert code == 0
    assert stderr.count("a worker could not start, and is tried again") >= MAX_DEATHS - 1
    assert stderr.count("a worker died") == 1


def test_parent_without_free_descriptors_goes_on_with_the_other_worker(tmp_path: Path) -> None:
    with WorkersHub(tmp_path / "data") as hub:
        kept, killed = hub.workers()
        assert hub.process.stderr is not None
        limits = hub.parent.rlimit(psutil.RLIMIT_NOFILE)
        hub.parent.rlimit(psutil.RLIMIT_NOFILE, (8, limits[1]))
        kill(killed)
        stderr = b""
        while (
            stderr.count(b"a worker could not start, and is tried again") < MAX_DEATHS - 1
        ):  # with the death above, enough to end a hub
            stderr += (data := os.read(hub.process.stderr.fileno(), 65_536))
            assert data, stderr.decode()
        hub.parent.rlimit(psutil.RLIMIT_NOFILE, limits)
        wait_until(lambda: len(hub.workers()) == 2)
        assert is_running(kept.pid)
        code, _, _ = hub.stop()
    assert code == 0
    assert b"Too many open files" in stderr
    assert stderr.count(b"a worker died") == 1


def test_worker_that_stands_still_is_killed_and_replaced(tmp_path: Path) -> None:
    with WorkersHub(tmp_path / "data", 2) as hub:
        stopped = hub.workers()[0]
        stopped.suspend()
        wait_until(lambda: not is_running(stopped.pid))
        wait_until(lambda: len(hub.workers()) == 2)
        code, _, stderr = hub.stop()
    assert code == 0
    assert re.search(r"gives no sign of life and is killed.* worker=", stderr)


def test_folder_of_one_process_becomes_one_of_workers_and_back(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    positions: list[str] = []
    for workers in (1, 2, 3, 1, 2):
        with WorkersHub(folder, workers) as hub:
            positions.append(httpx.post(f"{hub.http}v1/events", json=EVENT).json()["position"])
            with httpx.Client() as client:
                wait_until(partial(has_history, hub, client, positions))
                page = client.get(f"{hub.http}v1/events?channel=data&since={positions[0]}").json()
            assert page.get("gap") is None
            if workers == 1:
                wait_until((folder / "ballast").exists)
            else:
                assert not (folder / "ballast").exists(), "each worker has its own"
            assert hub.stop()[0] == 0
    assert len(set(positions)) == 5


def test_second_hub_on_the_folder_or_the_port_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with WorkersHub(folder, 2) as hub:
        second = tidings("serve", "--workers", "2", "--port", "0", "--data", str(folder))
        alone = tidings("serve", "--port", "0", "--data", str(folder))
        for refused in (second, alone):
            assert refused.returncode == 1
            text = " ".join(refused.stderr.split())
            assert f"error: another hub (process {hub.process.pid}) uses the data folder {folder}" in text, text
        port = str(hub.port)
        other = tidings("serve", "--workers", "2", "--port", port, "--data", str(tmp_path / "other"))
        assert other.returncode == 1
        assert f"port {port}" in other.stderr
        assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--workers", "0"), "--workers: invalid number '0': expected 'auto' or an integer from 1 to 64"),
        (("--workers", "10000"), "--workers: invalid number '10000': expected 'auto' or an integer from 1 to 64"),
        (("--workers", "many"), "--workers: invalid number 'many': expected 'auto' or an integer from 1 to 64"),
        (("--workers", "2", "--memory"), "--workers and --memory exclude each other"),
    ],
)
def test_impossible_workers_are_refused(options: tuple[str, ...], expected: str) -> None:
    refused = tidings("serve", "--port", "0", *options)
    assert refused.returncode == 2
    assert expected in " ".join(refused.stderr.split())


def test_error_in_the_settings_is_reported_once(tmp_path: Path) -> None:
    refused = tidings(
        "serve", "--port", "0", "--workers", "4", "--data", str(tmp_path), "--contract", "nowhere:nothing"
    )
    assert refused.returncode == 2
    assert refused.stderr.count("error:") == 1


def test_auto_workers_are_shown_as_such() -> None:
    shown = tidings("serve", "--workers", "auto", "--show-config")
    assert re.search(r'^workers = "auto" +# --workers$', shown.stdout, re.MULTILINE)


@pytest.mark.skipif(sys.platform != "linux", reason="the affinity of another process is set on Linux only")
def test_auto_starts_one_worker_for_each_core_that_may_be_used(tmp_path: Path) -> None:
    affinity = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(affinity)})
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "tidings", "serve", "--port", "0", "--workers", "auto", "--data", str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        )
    finally:
        os.sched_setaffinity(0, affinity)
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ws://")
            assert len(psutil.Process(process.pid).children()) == 1
            process.terminate()
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()


def test_journal_of_newer_rules_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with WorkersHub(folder, 2) as hub:
        assert hub.stop()[0] == 0
    with closing(sqlite3.connect(folder / "journal.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
        refused = tidings("serve", "--workers", "2", "--port", "0", "--data", str(folder))
        assert refused.returncode == 1
        assert "supports up to" in refused.stderr
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        begin = Begin(node="worker-3", after=1, rules=RULES + 1, version="2")
        batch = NodeBatch(rules=RULES + 1, session="newer", number=1, events=[], controls=[begin])
        with connection:
            connection.execute("INSERT INTO entries (at_ns, body) VALUES (1, ?)", (encode_batch(batch),))
    refused = tidings("serve", "--workers", "2", "--port", "0", "--data", str(folder))
    assert refused.returncode == 1
    assert f"is written by rules {RULES + 1}" in " ".join(refused.stderr.split())
    assert refused.stderr.count("error:") == 1
