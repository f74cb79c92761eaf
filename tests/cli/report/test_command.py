"""`tidings report`, as shell scripts use it."""

import json
import subprocess
import sys

import pytest
from tests.cli.processes import TIDINGS, TIMEOUT_S, Hub, environment, tidings

from tidings.cli.errors import USAGE, ExitCode

SCRIPT = """
set -e
ID=$($TIDINGS report start "Nightly import" --steps extract,load --lease 60s --metadata '{{"weight": 2}}')
$TIDINGS report progress "$ID" 1/4 "reading rows" --step extract
$TIDINGS report log "$ID" "row 7 was odd" --level warning
{end}
echo "$ID"
"""


def run_script(hub: Hub, end: str) -> "subprocess.CompletedProcess[str]":
    variables = environment(TIDINGS_URL=hub.url, TIDINGS=" ".join(TIDINGS))
    return subprocess.run(
        ["sh", "-c", SCRIPT.format(end=end)],
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT_S,  # several commands, one after the other
        env=variables,
        check=False,
    )


def shown(hub: Hub, id: str) -> "dict[str, object]":
    done = tidings("show", id, "--json", "--url", hub.url)
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert isinstance(read, dict)
    return read


def test_a_script_reports_its_operation_from_start_to_end(shared_hub: Hub) -> None:
    done = run_script(shared_hub, """$TIDINGS report complete "$ID" --result '{"rows": 12}'""")
    assert (done.returncode, done.stderr) == (0, "")
    operation = shown(shared_hub, done.stdout.strip())
    assert operation["name"] == "Nightly import"
    assert operation["state"] == "complete"
    assert operation["result"] == {"rows": 12}
    assert operation["metadata"] == {"weight": 2}
    assert operation["pid"]
    assert [step["name"] for step in operation["steps"]] == ["extract", "load"]  # type: ignore[attr-defined]
    assert [line["message"] for line in operation["log"]] == ["row 7 was odd"]  # type: ignore[attr-defined]


def test_fail_reports_code_hint_and_details(shared_hub: Hub) -> None:
    end = 'echo "line 1" | $TIDINGS report fail "$ID" "it broke" --code broken --hint "mend it" --details -'
    done = run_script(shared_hub, end)
    assert (done.returncode, done.stderr) == (0, "")
    looked = tidings("show", done.stdout.strip(), "--url", shared_hub.url)
    name, sentence, *rest = looked.stdout.splitlines()
    assert (looked.returncode, name) == (0, "Nightly import")
    assert sentence.startswith("failed ")
    assert sentence.endswith(": broken — it broke")
    assert [line for line in rest if "hint" in line or "line 1" in line] == ["  hint: mend it", "    line 1"]


def test_a_script_stops_after_a_cancel_request(shared_hub: Hub) -> None:
    end = """
$TIDINGS cancel "$ID" --reason "wrong file" --timeout 0 >/dev/null || true
$TIDINGS report progress "$ID" 50 || {
    code=$?
    $TIDINGS report cancelled "$ID" --by ada
    echo "$ID"
    exit $code
}
"""
    done = run_script(shared_hub, end)
    assert done.returncode == 75
    assert "cancellation of operation" in done.stderr
    operation = shown(shared_hub, done.stdout.strip())
    assert (operation["state"], operation["cancelled_by"]) == ("cancelled", "ada")


def test_a_queued_operation_begins_with_another_start(shared_hub: Hub) -> None:
    arguments = ("report", "start", "Later", "--id", "later/1", "--url", shared_hub.url)
    assert tidings(*arguments, "--queued").stdout == "later/1\n"
    assert shown(shared_hub, "later/1")["state"] == "queued"
    assert tidings(*arguments, "--strict").returncode == 0
    assert shown(shared_hub, "later/1")["state"] == "running"


def test_a_leased_operation_cannot_be_started_without_a_producer(shared_hub: Hub) -> None:
    arguments = ("report", "start", "Leased", "--id", "leased/1", "--strict", "--url", shared_hub.url)
    assert tidings(*arguments, "--lease", "60s").returncode == 0
    again = tidings(*arguments)
    assert (again.returncode, again.stdout) == (1, "leased/1\n")
    assert "(operation_exists)" in again.stderr


def test_a_script_continues_without_a_hub() -> None:
    done = subprocess.run(
        ["sh", "-ec", 'ID=$($TIDINGS report start x --timeout 200ms); $TIDINGS report progress "$ID" 5; echo on'],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=environment(TIDINGS_URL="ws://127.0.0.1:1/ws", TIDINGS=" ".join(TIDINGS)),
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "on\n")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("start", ""), 2, "the name is empty"),
        (("start", "x", "--id", ""), 2, "the operation id is empty"),
        (("complete", ""), 2, "the operation id is empty"),
        (("complete", "nosuch"), 5, "no such operation: 'nosuch'"),
        (("progress", "x", "lots"), 2, "invalid progress 'lots'"),
        (("start", "x", "--lease", "soon"), 2, "--lease"),
        (("start", "x", "--metadata", "[]"), 2, "expected a JSON object"),
        (("complete", "x", "--result", "12 rows"), 2, "invalid JSON"),
        (("log", "x", "y", "--level", "loud"), 2, "--level"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_errors_have_their_exit_code_and_message(
    shared_hub: Hub, arguments: tuple[str, ...], code: int, error: str
) -> None:
    done = tidings("report", *arguments, TIDINGS_URL=shared_hub.url)
    assert done.returncode == code
    assert error in done.stderr
    assert "Traceback" not in done.stderr


def test_disabled_reporting_sends_and_keeps_nothing(shared_hub: Hub) -> None:
    switches = {"TIDINGS_URL": shared_hub.url, "TIDINGS_DISABLED": "1"}
    started = tidings("report", "start", "Switched off", **switches)
    id = started.stdout.strip()
    ended = tidings("report", "complete", id, **switches)
    assert (started.returncode, ended.returncode, started.stderr, ended.stderr) == (0, 0, "", "")
    assert tidings("report", "complete", id, TIDINGS_URL=shared_hub.url).returncode == ExitCode.UNKNOWN_OPERATION


@pytest.mark.parametrize(("quiet", "expected"), [("0", True), ("1", False)])
def test_quiet_reporting_writes_no_remarks(quiet: str, expected: bool) -> None:
    away = {"TIDINGS_URL": "ws://127.0.0.1:1/ws", "TIDINGS_QUIET": quiet}
    started = tidings("report", "start", "Quiet", "--timeout", "200ms", **away)
    assert started.returncode == 0
    assert ("tidings: operation:start is kept on disk" in started.stderr) is expected
    assert bool(started.stderr) is expected


@pytest.mark.parametrize("command", ["start", "progress", "log", "complete", "fail", "cancelled"])
def test_every_command_has_help_and_its_exit_codes(command: str) -> None:
    done = tidings("report", command, "--help")
    assert done.returncode == 0
    assert "Exit codes:" in done.stdout


def test_help_imports_no_httpx() -> None:
    code = "import sys; import tidings.cli.app; print([n for n in ('httpx', 'rich.live') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("variables", "remark"),
    [
        ({"TIDINGS_URL": "ftp://me:secret@x"}, "invalid hub URL 'ftp://me:...@x'"),
        ({"TIDINGS_URL": "wss://127.0.0.1:1/ws", "TIDINGS_CA": "/nope.pem"}, "invalid certificate file '/nope.pem'"),
    ],
)
def test_invalid_environment_does_not_break_the_script(variables: dict[str, str], remark: str) -> None:
    for arguments in (("start", "import", "--id", "env-1"), ("progress", "env-1", "5"), ("complete", "env-1")):
        done = tidings("report", *arguments, **variables)
        assert done.returncode == 0
        assert done.stdout == ("env-1\n" if arguments[0] == "start" else "")
        (line,) = done.stderr.splitlines()
        assert remark in line
        assert tidings("report", *arguments, "--strict", **variables).returncode == USAGE
