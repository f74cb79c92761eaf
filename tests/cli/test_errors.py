import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import msgspec
import pytest
import typer
from tests.cli.processes import Hub, tidings

from tidings.cli.errors import (
    FAILED,
    INTERRUPTED,
    USAGE,
    ExitCode,
    exit_code,
    exit_codes_epilog,
    exit_on_error,
    print_error,
)
from tidings.exceptions import (
    CommandRefused,
    ConfigError,
    HubUnreachable,
    InvalidContract,
    InvalidPayload,
    LogInUse,
    MissingExtra,
    OperationUnknown,
    TidingsError,
)


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (LogInUse("taken", hint="Wait."), 1, ["error: taken", "hint: Wait."]),
        (ConfigError("wrong", hint="Right."), 2, ["error: wrong", "hint: Right."]),
        (InvalidContract("none", type="a:b", hint="One."), 2, ["error: none", "hint: One."]),
        (InvalidPayload("$.data: no", hint="So."), 1, ["error: $.data: no (invalid_payload)", "hint: So."]),
        (
            CommandRefused("no", refusal="operation_finished", recoverable=False, hint="New.", details="more"),
            1,
            ["error: no (operation_finished)", "more", "hint: New."],
        ),
        (MissingExtra("needs x", extra="hub"), 1, ["error: needs x", "hint: pip install 'tidings[all]'"]),
    ],
)
def test_an_error_is_two_lines_on_stderr(
    error: TidingsError, code: int, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    print_error(error)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == lines
    assert exit_code(error) == code


def test_an_error_without_a_hint_has_that_of_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(HubUnreachable("nobody"), prefix="line 3: ")
    error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: line 3: nobody"
    assert "tidings serve" in hint


def test_exit_codes_are_unique() -> None:
    codes = [int(code) for code in ExitCode]
    assert len({*codes, FAILED, USAGE, INTERRUPTED}) == len(codes) + 3
    assert all(0 <= code < 126 for code in codes), "a shell uses those above itself"
    assert all(code.meaning for code in ExitCode)


@pytest.mark.parametrize(
    ("error", "code"),
    [(OperationUnknown("no such", operation_id="x"), 5), (HubUnreachable("no hub answers"), 69)],
)
def test_unknown_operations_and_hubs_have_their_exit_codes(
    error: TidingsError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as caught, exit_on_error():
        raise error
    assert caught.value.exit_code == code
    assert capsys.readouterr().err.startswith(f"error: {error}\nhint: ")


def test_exit_on_error_passes_other_errors() -> None:
    with pytest.raises(ConfigError), exit_on_error():
        raise ConfigError("odd")


def test_epilog_lists_exit_codes() -> None:
    assert exit_codes_epilog(ExitCode.FAILED, failed="it is bad") == (
        "Exit codes: 0: success; 1: it is bad; 2: an invalid command line; 3: the operation failed."
    )


@pytest.mark.parametrize("code", ["invalid_parameter", "unknown_channel", "invalid_path", "invalid_position"])
def test_values_that_a_hub_rejects_are_usage_errors(code: str) -> None:
    assert exit_code(CommandRefused("no", refusal=code, recoverable=False)) == USAGE


@pytest.mark.parametrize("command", ["ls --since 6", "watch nosuch", "watch a/\x07", "record --since 6 -"])
def test_wrong_values_exit_with_2_whoever_rejects_them(command: str, shared_hub: Hub) -> None:
    assert tidings(*command.split(), TIDINGS_URL=shared_hub.url).returncode == USAGE


def test_an_unknown_operation_leads_to_the_command_that_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), exit_on_error():
        raise OperationUnknown("no such", operation_id="x", hint="`GET /v1/operations` lists all operations.")
    assert capsys.readouterr().err.splitlines()[1] == "hint: `tidings ls` lists all operations."


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b2J\u202e"


class HostileAnswer(BaseHTTPRequestHandler):
    """Answers every request with escape sequences in each text of an error."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        texts = {name: f"{name} {HOSTILE}" for name in ("message", "hint", "details")}
        body = msgspec.json.encode({"code": "forbidden", "recoverable": False, **texts})
        self.send_response(403)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


@pytest.mark.parametrize(
    "command", ["ls", "watch --json", "doctor", "doctor --json", "publish data:update {}", "run true"]
)
def test_answers_of_a_stranger_write_no_control_characters(command: str) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), HostileAnswer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            done = tidings(*command.split(), TIDINGS_URL=f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()
    written = done.stdout + done.stderr
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", written), written
    assert "json" in command or "\u202e" not in written
