import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from tests.cli.processes import Hub, Process, Terminal, environment, tidings
from websockets.sync.client import connect

from tidings.cli.app import load_command
from tidings.cli.contract.sources import find_contract
from tidings.cli.serve.options import resolve
from tidings.exceptions import InvalidContract

# One of each way to be wrong; `test_options` has one for each option.
WRONG_FLAGS = {
    "--port": "99999",
    "--log-format": "xml",
    "--tls-key": "key-alone.pem",
    "--config": "not-there.toml",
}


def test_serve_prints_one_line_with_both_urls_on_stdout(tmp_path: Path) -> None:
    with Hub("--retention-age", "36h") as hub:
        assert hub.ready == f"ws://127.0.0.1:{hub.port}/ws http://127.0.0.1:{hub.port}/\n"
        code, stdout, stderr = hub.stop()
    assert (code, stdout) == (0, "")
    assert "log opened" in stderr
    assert "data=memory" in stderr
    assert "disk='0 B'" in stderr
    assert "1,000,000 events, 1GiB, 1d12h" in stderr
    assert "Traceback" not in stderr


def test_serve_greets_a_terminal_in_two_lines_above_its_logs() -> None:
    with Terminal("serve", "--memory", "--port", "0", columns=200) as terminal:
        shown = terminal.wait_for("hub ready").splitlines()
        assert re.match(r"tidings \S+ listens on http://127\.0\.0\.1:[0-9]+/\. Ctrl-C stops it\.$", shown[0])
        said = r"(Open it in a browser, or w|W)atch it with `tidings watch --url ws://127\.0\.0\.1:[0-9]+/ws`, and "
        assert re.match(said, shown[1])
        assert "log opened" in "".join(shown[2:])
        terminal.press(b"\x03")
        assert terminal.wait() == 0


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_hub_outlives_its_terminal(unbuffered: str) -> None:
    env = {"PYTHONUNBUFFERED": unbuffered}
    with Terminal("serve", "--memory", "--port", "0", columns=200, env=env) as terminal:
        url = terminal.wait_for("hub ready").split()[4].rstrip(".")
        terminal.hang_up()
        for _ in range(3):  # log lines that can no longer be written
            assert tidings("publish", "data:update", '{"dataset": "d"}', "--url", url).returncode == 0
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.process.wait(timeout=60) == 0


def test_sighup_without_anything_to_reload_is_logged() -> None:
    with Hub() as hub:
        hub.signal(signal.SIGHUP)
        assert tidings("publish", "data:update", '{"dataset": "d"}', "--url", hub.url).returncode == 0
        code, _, stderr = hub.stop()
    assert code == 0
    assert stderr.count("nothing to reload") == 1


def test_ignored_sighup_stays_ignored() -> None:
    with Hub(wrapper=("nohup",)) as hub:
        hub.signal(signal.SIGHUP)
        assert tidings("publish", "data:update", '{"dataset": "d"}', "--url", hub.url).returncode == 0
        code, _, stderr = hub.stop()
    assert code == 0
    assert "reload" not in stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_hub_that_others_can_reach_warns_and_prints_an_address_that_works(host: str) -> None:
    with Hub("--host", host, "--insecure") as hub:
        assert hub.url == f"ws://127.0.0.1:{hub.port}/ws"
        assert tidings("publish", "data:update", '{"dataset": "d"}', "--url", hub.url).returncode == 0
        _, _, stderr = hub.stop()
    assert ("no access control" in stderr) is (host == "0.0.0.0")


def test_port_of_a_running_hub_is_an_error_that_says_so() -> None:
    with Hub() as hub:
        done = tidings("serve", "--memory", "--port", str(hub.port))
    assert done.returncode == 1
    assert "hint: A hub listens there already" in done.stderr
    assert f"http://127.0.0.1:{hub.port}" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_exits_with_0_even_with_a_watcher(number: int) -> None:
    with Hub() as hub, Process("watch", "--json", "--url", hub.url) as watch:
        watch.read_until('"system:status"')
        hub.signal(number)
        code, _, stderr = hub.wait()
        assert code == 0, stderr
        assert "hub drains" in stderr
        watch.signal(signal.SIGINT)
        watch.wait()


def test_a_port_in_use_is_an_error_with_a_hint() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = tidings("serve", "--memory", "--port", str(other.getsockname()[1]))
    assert done.returncode == 1
    assert done.stdout == ""
    error, hint = done.stderr.splitlines()[-2:]
    assert error.startswith("error: cannot listen on 127.0.0.1 port")
    assert hint.startswith("hint: Stop the other program")


def test_a_foreign_host_is_an_error_with_a_hint() -> None:
    done = tidings("serve", "--memory", "--port", "0", "--host", "192.0.2.1", "--insecure")
    assert done.returncode == 1
    assert "hint: No interface of this machine has that address" in done.stderr


@pytest.mark.parametrize("flag", WRONG_FLAGS)
def test_an_invalid_option_is_a_usage_error_in_two_lines(flag: str) -> None:
    done = tidings("serve", "--memory", flag, WRONG_FLAGS[flag])
    assert done.returncode == 2
    assert done.stdout == ""
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert flag in error or WRONG_FLAGS[flag] in error
    assert hint.startswith("hint: ")


@pytest.mark.parametrize("value", ["https://x/path", "x"])
def test_an_invalid_origin_is_a_usage_error(value: str) -> None:
    done = tidings("serve", "--memory", "--allow-origin", value)
    assert done.returncode == 2
    assert "invalid origin" in done.stderr


def test_an_unknown_option_is_a_usage_error() -> None:
    done = tidings("serve", "--prot", "1")
    assert done.returncode == 2
    assert "--prot" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_an_invalid_certificate_is_an_error(content: bytes | None, tmp_path: Path) -> None:
    certificate = tmp_path / "cert.pem"
    if content is not None:
        certificate.write_bytes(content)
    done = tidings("serve", "--memory", "--port", "0", "--tls-cert", str(certificate))
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_show_config_prints_a_valid_file_with_sources(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text("retention-events = 5\nport = 1\n")
    done = tidings("serve", "--show-config", "--heartbeat", "5s", TIDINGS_CONFIG=str(file), TIDINGS_PORT="2")
    assert done.returncode == 0, done.stderr
    shown = tmp_path / "shown.toml"
    shown.write_text(done.stdout)
    with load_command("serve").make_context("serve", ["--config", str(shown)]) as ctx:
        settings = resolve(ctx).settings
    assert (settings.retention_events, settings.port, settings.heartbeat) == (5, 2, 5.0)
    lines = {line.split()[0]: line.rpartition("# ")[2] for line in done.stdout.splitlines()}
    assert lines["port"] == "TIDINGS_PORT"
    assert lines["heartbeat"] == "--heartbeat"
    assert lines["retention-events"] == f"{file}, retention-events"
    assert lines["host"] == "default"


def test_the_websocket_is_at_the_given_path() -> None:
    with Hub("--ws-path", "/events/live") as hub:
        assert hub.url.endswith("/events/live")
        assert tidings("publish", "data:update", '{"dataset": "d"}', "--url", hub.url).returncode == 0
        refused = tidings("publish", "data:update", "--url", hub.url.replace("/events/live", "/ws"))
        assert refused.returncode == 1
        assert "404" in refused.stderr


def test_json_logs_have_one_object_per_line_with_connection_ids() -> None:
    with Hub("--log-format", "json") as hub:
        assert tidings("publish", "data:update", '{"dataset": 5}', "--url", hub.url).returncode == 1
        _, _, stderr = hub.stop()
    lines = [json.loads(line) for line in stderr.splitlines()]
    assert {"hub ready", "connection opened", "connection closed", "message refused"} <= {x["event"] for x in lines}
    opened = next(line for line in lines if line["event"] == "connection opened")
    refused = next(line for line in lines if line["event"] == "message refused")
    assert refused["connection_id"] == opened["connection_id"]
    assert len(refused["trace_id"]) == 32
    assert refused["level"] == "info"
    assert refused["timestamp"].endswith("Z")


def test_lines_below_the_level_are_not_logged() -> None:
    with Hub("--log-level", "error") as hub:
        assert hub.stop() == (0, "", "")


def test_serve_warns_of_a_misspelt_variable() -> None:
    with Hub(env={"TIDINGS_RETENTION_EVNTS": "5"}) as hub:
        _, _, stderr = hub.stop()
    assert "unknown variable TIDINGS_RETENTION_EVNTS: did you mean TIDINGS_RETENTION_EVENTS?" in stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_connections_are_limited_by_open_files() -> None:
    limited = f"ulimit -n 600; exec {sys.executable} -m tidings serve --memory --port 0 --max-connections 5000"
    process = subprocess.Popen(
        ["sh", "-c", limited], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ws://")
        process.terminate()
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert "the limit of open files reduces max_connections" in stderr
    assert "max_connections=344 open_files=600" in stderr


def test_a_second_hub_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with Hub("--data", str(tmp_path / "data"), memory=False):
        second = tidings("serve", "--port", "0", "--data", str(tmp_path / "data"))
    assert second.returncode == 1
    assert second.stderr.splitlines()[-1].startswith("hint: ")
    assert "Traceback" not in second.stderr


def test_published_events_survive_a_restart(tmp_path: Path) -> None:
    folder = str(tmp_path / "data")
    with Hub("--data", folder, memory=False) as hub:
        published = tidings("publish", "data:update", '{"dataset": "kept"}', "--url", hub.url)
        hub.signal(signal.SIGKILL)
        hub.wait()
    with (
        Hub("--data", folder, memory=False) as again,
        Process("watch", "data/kept", "--json", "--url", again.url) as watch,
    ):
        assert json.loads(watch.read_line())["position"] == published.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX")
def test_a_data_folder_that_cannot_be_created_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = tidings("serve", "--port", "0", "--data", str(tmp_path / "file" / "data"))
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_log_of_a_hub_shows_no_token() -> None:
    with Hub("--log-level", "debug") as hub:
        request = Request(f"{hub.http}v1/operations?token=hunter2")
        request.add_header("Authorization", "Bearer hunter2")
        with urlopen(request) as answer:
            assert answer.status == 200
        with connect(f"{hub.url}?token=hunter2", additional_headers={"Authorization": "Bearer hunter2"}) as socket:
            socket.recv()
        _, _, stderr = hub.stop()
    assert "/ws" in stderr
    assert "hunter2" not in stderr


def test_data_folder_that_anyone_can_write_is_mentioned(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with Hub("--data", str(tmp_path), memory=False) as hub:
        _, _, stderr = hub.stop()
    assert "any user of this machine can replace the log" in stderr
    assert "chmod o-w" in stderr


def test_too_few_open_files_are_one_error() -> None:
    limited = ("sh", "-c", 'ulimit -n 24; exec "$0" "$@"')
    with Process("serve", "--port", "0", "--memory", wrapper=limited) as serve:
        code, _, stderr = serve.wait()
    assert code == 1
    assert "error: too many open files\nhint: Raise the limit" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize("member", ["type", "channel", "class", "name", "key", "payload", "fields"])
@pytest.mark.parametrize("value", ["{a = 1}", "[1]", "1"])
def test_contract_with_a_member_of_another_kind_is_an_error(member: str, value: str, tmp_path: Path) -> None:
    type = "" if member == "type" else 'type = "a:b"\n'
    (tmp_path / "contract.toml").write_text(f"[[events]]\n{type}{member} = {value}\n")
    with pytest.raises(InvalidContract):
        find_contract(str(tmp_path / "contract.toml"))


def test_a_ballast_beyond_its_share_of_the_disk_is_rejected_before_writing(tmp_path: Path) -> None:
    data = tmp_path / "hub" / "data"
    done = tidings("serve", "--port", "0", "--data", str(data), "--ballast", "9999TiB")
    assert (done.returncode, done.stdout) == (2, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: --ballast: invalid size 9999TiB: expected at most ")
    assert hint.startswith("hint: Choose a size of at most 1/16 of the disk")
    assert list(tmp_path.iterdir()) == []


def test_a_retention_beyond_the_disk_has_a_warning(tmp_path: Path) -> None:
    with Hub("--data", str(tmp_path), "--retention-bytes", "9999TiB", memory=False) as hub:
        _, _, stderr = hub.stop()
    assert "the disk is smaller than retention_bytes" in stderr
