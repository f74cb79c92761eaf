"""Each in a process of its own: loggers keep the configuration they were first used with."""

import json
import subprocess
import sys

import pytest

SETUP = """
import enum, logging, sys, warnings
import structlog
from tidings.cli.serve.logging import configure_logging
log = structlog.get_logger("ours")
"""


def stderr_of(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", SETUP + code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_lines_of_tidings_and_libraries_have_one_format() -> None:
    lines = stderr_of(
        """
configure_logging("json", "info")
log.info("opened", connection_id="c1", odd={1, })
logging.getLogger("theirs").warning("found %d", 3, extra={"peer": "p"})
warnings.warn("careful")
"""
    )
    ours, theirs, warned = map(json.loads, lines)
    assert (ours["logger"], ours["event"], ours["connection_id"], ours["odd"]) == ("ours", "opened", "c1", [1])
    assert (theirs["logger"], theirs["event"], theirs["peer"]) == ("theirs", "found 3", "p")
    assert "careful" in warned["event"]
    for line in (ours, theirs, warned):
        assert list(line)[:4] == ["timestamp", "level", "logger", "event"]


def test_text_logs_have_no_escape_sequences() -> None:
    (line,) = stderr_of('configure_logging("text", "info")\nlog.warning("odd", id="x", reason="a\\x1b[2J\\nb")')
    assert "\x1b" not in line
    assert "[ours]" in line
    assert r"reason=a\x1b[2J\nb" in line


def test_exceptions_have_their_traceback_in_both_formats() -> None:
    code = """
configure_logging("{form}", "info")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
    logging.getLogger("theirs").exception("failed too")
"""
    ours, theirs = map(json.loads, stderr_of(code.replace("{form}", "json")))
    assert "ZeroDivisionError" in ours["exception"]
    assert "ZeroDivisionError" in theirs["exception"]
    assert len([line for line in stderr_of(code.replace("{form}", "text")) if "ZeroDivisionError" in line]) == 2


def test_a_disabled_level_runs_no_processor() -> None:
    lines = stderr_of(
        """
configure_logging("text", "warning")
log.info("no", value="x")
logging.getLogger("theirs").info("no")
assert log.bind().info.__name__ == "_nop", log.bind().info
"""
    )
    assert lines == []


def test_verbose_libraries_log_from_warning_on() -> None:
    code = 'configure_logging("text", "{}")\nlogging.getLogger("websockets.server").info("connection open")\n'
    assert stderr_of(code.format("info")) == []
    assert len(stderr_of(code.format("debug"))) == 1


def test_a_closed_stderr_does_not_end_the_process() -> None:
    code = (
        SETUP
        + """
configure_logging("text", "info")
sys.stdin.read()
log.info("nobody reads")
print("alive")
"""
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stdin is not None
    assert process.stdout is not None
    process.stderr.close()
    process.stdin.close()
    with process.stdout:
        assert process.stdout.read() == "alive\n"
    process.wait(timeout=60)


@pytest.mark.parametrize("form", ["json", "text"])
def test_secrets_leave_no_trace_at_any_level(form: str) -> None:
    code = """
configure_logging("{form}", "debug")
logging.getLogger("theirs").debug('%s - "GET /v1/events?token=hunter2&channels=data HTTP/1.1" 200', "127.0.0.1")
logging.getLogger("theirs").debug("> GET /ws?access_token=hunter2 HTTP/1.1")
logging.getLogger("theirs").debug("> Authorization: Bearer hunter2")
log.info("opened", url="/ws?token=hunter2", headers={"authorization": "Bearer hunter2", "cookie": "a=hunter2"})
try:
    raise ValueError("no such path: /ws?token=hunter2")
except ValueError:
    log.exception("failed")
"""
    lines = stderr_of(code.replace("{form}", form))
    assert [line for line in lines if "hunter2" in line] == []
    assert len([line for line in lines if "REDACTED" in line]) >= 5
