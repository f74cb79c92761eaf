import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.cli.processes import TIMEOUT_S, environment, limited_by_permissions, tidings

from tidings.cli import app
from tidings.cli.app import load_command
from tidings.cli.errors import ExitCode
from tidings.version import __version__

COMMANDS = list(app.COMMANDS)


def test_help_names_every_command() -> None:
    done = tidings("--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = tidings(command, "-h")
    assert done.returncode == 0
    assert f"Usage: tidings {command}" in done.stdout.replace("python -m tidings", "tidings")
    assert done.stderr == ""


def test_version_is_printed() -> None:
    assert tidings("--version").stdout == f"tidings {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        ("nonsense", "no such command: 'tidings nonsense'", "Run `tidings --help` to list the commands."),
        ("operations --running", "no such command: 'tidings operations'", "Run `tidings ls`."),
        ("operation start x", "no such command: 'tidings operation'", "Run `tidings report start`."),
        ("operation show x", "no such command: 'tidings operation'", "Run `tidings show`."),
        ("log verify", "no such command: 'tidings log'", "Run `tidings data verify`."),
        ("log x", "no such command: 'tidings log'", "Run `tidings logs`."),
        ("kill x", "no such command: 'tidings kill'", "Run `tidings cancel`."),
        ("wacth", "no such command: 'tidings wacth'", "Run `tidings watch`."),
        ("report begin x", "no such command: 'tidings report begin'", "Run `tidings report start`."),
        ("report progres x", "no such command: 'tidings report progres'", "Run `tidings report progress`."),
        ("data check", "no such command: 'tidings data check'", "Run `tidings data verify`."),
        ("show", "missing argument 'ID'", "Pass an id, a name or --last."),
        ("report progress", "missing argument 'ID'", "Run `python -m tidings report progress --help`."),
    ],
)
def test_an_invalid_command_line_is_an_error_with_a_hint(arguments: str, error: str, hint: str) -> None:
    done = tidings(*arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [f"error: {error}", f"hint: {hint}"]


@pytest.mark.parametrize("arguments", ["--nonsense", "ls --nonsense", "ls --limit many", "report --nonsense"])
def test_an_invalid_option_is_an_error_with_a_hint(arguments: str) -> None:
    done = tidings(*arguments.split())
    error, hint = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert error.startswith(("error: no such option", "error: invalid value for '--limit'"))
    assert hint.startswith("hint: Run `python -m tidings")


@pytest.mark.parametrize(
    "arguments", ["data info --data", "data verify", "serve --data", "contract check", "record -o"]
)
def test_a_path_that_cannot_even_be_looked_up_is_an_error_with_a_hint(arguments: str) -> None:
    path = "x" * 300
    done = tidings(*arguments.split(), path)
    error, hint = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert error.startswith("error: cannot use '")
    assert "File name too long" in error
    assert hint == "hint: Check the path, and who may use it."


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        ("data info --data {closed}", "cannot use '{closed}/log.db'", "You may not open the folder {closed}, which"),
        ("serve --data {closed}/a/b", "cannot use '{closed}/a/b/", "You may not open the folder {closed}, which"),
        ("record -o {fixed}/x.gz", "cannot write {fixed}/x.gz", "Name a file in a folder that you may write to."),
        ("key list --keys {file}", "cannot read the key file {file}", "Run the command as the user of the hub, or"),
        ("serve --memory --tls-cert {file}", "cannot read '{file}'", "Let the hub's user read the file"),
        (
            "serve --data {fixed}/a/b",
            "the data folder {fixed}/a/b cannot be written",
            "Make the data folder writable for the hub's user",
        ),
        ("replay {file}", "cannot read '{file}'", "Check the path, and who may use it."),
        ("replay {closed}/x", "cannot read '{closed}/x'", "You may not open the folder {closed}, which"),
        ("contract export go -o {fixed}/x.go", "cannot write {fixed}/x.go", "Pass a file or folder that can be"),
        ("contract check {file}", "cannot read '{file}'", "Check the path, and who may use it."),
        ("ls --token-file {file}", "cannot read the token file '{file}'", "Correct the path"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_a_path_closed_to_the_user_is_an_error_with_its_own_hint(
    tmp_path: Path, arguments: str, error: str, hint: str
) -> None:
    names = {name: str(tmp_path / name) for name in ("closed", "fixed", "file")}
    (tmp_path / "closed").mkdir(mode=0o000)
    (tmp_path / "fixed").mkdir(mode=0o500)
    (tmp_path / "file").touch(mode=0o000)
    done = tidings(*arguments.format(**names).split(), wrapper=limited_by_permissions())
    (tmp_path / "closed").chmod(0o700)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (2, "", 2), done.stderr
    assert lines[0].startswith(f"error: {error.format(**names)}")
    assert lines[0].endswith(": Permission denied")
    assert lines[1].startswith(f"hint: {hint.format(**names)}")


@pytest.mark.parametrize(
    "arguments",
    [
        "data backup copy",
        "data info --data x",
        "serve --data x",
        "contract export go -o x",
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_a_deleted_working_directory_is_named_in_the_hint(tmp_path: Path, arguments: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    leave = ["sh", "-c", 'cd "$0" && rmdir "$0" && exec "$@"', str(gone)]
    done = tidings(*arguments.split(), wrapper=leave)
    assert done.returncode in (1, 2)
    assert done.stderr.splitlines()[-1] == (
        "hint: The working directory was deleted: change to another with `cd`, or name a path from the root."
    )


@pytest.mark.parametrize("command", ["", "ls", "report", "report start"])
def test_help_of_a_command_is_its_option_help(command: str) -> None:
    done = tidings("help", *command.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == tidings(*command.split(), "--help").stdout
    assert done.stdout.startswith(f"Usage: python -m tidings {command}".rstrip())


@pytest.mark.parametrize("group", ["", "report", "data", "contract"])
def test_a_group_without_a_command_prints_its_help_on_stderr(group: str) -> None:
    done = tidings(*group.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert "Commands:" in done.stderr


def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield a command and the commands of a group, each with its path."""
    yield name, command
    for child, nested in getattr(command, "commands", {}).items():
        yield from walk(f"{name} {child}", nested)


ALL_COMMANDS = dict(pair for name in COMMANDS for pair in walk(name, load_command(name)))


@pytest.mark.parametrize("path", ALL_COMMANDS)
def test_help_has_one_form_for_every_command(path: str) -> None:
    command = ALL_COMMANDS[path]
    text = command.make_context(f"tidings {path}", [], resilient_parsing=True).get_help()
    lines = text.splitlines()
    assert lines[0].startswith(f"Usage: tidings {path} ")
    assert max(map(len, lines)) <= 80
    # Some versions of Typer print types as `<str>`, names as `{ID}`, and panels with corners.
    assert not re.search(r"<(str|bool|int|path)>|\{[A-Z]|[│╭]|BOOLEAN|INTEGER|\[required\]", text)


@pytest.mark.parametrize("path", ALL_COMMANDS)
def test_every_parameter_names_and_explains_its_value(path: str) -> None:
    for param in ALL_COMMANDS[path].params:
        if getattr(param, "hidden", False):
            continue
        assert param.help, param.name
        assert param.metavar or getattr(param, "is_flag", False), param.name


def test_the_root_imports_no_heavy_library() -> None:
    heavy = ("uvicorn", "starlette", "structlog", "httpx", "rich.live", "sqlite3")
    code = f"import sys; import tidings.cli.app; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        ("--version", ("pydantic", "websockets", "rich", "http.client")),
        ("ls", ("pydantic", "websockets")),
        ("show op-1", ("pydantic", "websockets")),
        ("serve --show-config", ("pydantic", "rich")),
        ("run -- true", ("pydantic", "rich")),
        ("watch --help", ("pydantic",)),
    ],
)
def test_a_command_imports_only_what_it_needs(arguments: str, unneeded: tuple[str, ...]) -> None:
    code = f"import atexit, sys; atexit.register(lambda: print([name for name in {unneeded!r} if name in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; from tidings.cli import main; main()", *arguments.split()],
        env=environment(TIDINGS_URL="ws://127.0.0.1:1"),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_command_summary_matches_the_first_sentence_of_its_help(name: str) -> None:
    assert load_command(name).help.strip().splitlines()[0] == app.COMMANDS[name][1]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_exactly_the_exit_codes_that_a_command_gives(name: str) -> None:
    path = Path(str(import_module(app.COMMANDS[name][0]).__file__))
    text = "".join(each.read_text() for each in (path.parent.glob("*.py") if path.parent.name == name else [path]))
    code = re.sub(r"exit_codes_epilog\(.*?\)", "", text, flags=re.DOTALL)
    used = {int(ExitCode[each]) for each in re.findall(r"\bExitCode\.([A-Z_]+)", code)}
    shared = {int(ExitCode.NO_HUB), int(ExitCode.UNKNOWN_OPERATION)} if "exit_on_error()" in code else set()
    command, listed, access = load_command(name), set[int](), set[int]()
    for each in getattr(command, "commands", {name: command}).values():
        shown = f"{each.help}\n{each.epilog or ''}"
        assert shown.count("Exit codes: ") == 1
        if any("--allow-plaintext-token" in param.opts for param in each.params) or shared:
            access = {int(ExitCode.NOT_ALLOWED), int(ExitCode.NO_HUB)}
        listed |= {int(number) for number in re.findall(r"\b(\d+):", shown.partition("Exit codes: ")[2])}
    assert used <= listed
    assert not shared or int(ExitCode.NO_HUB) in listed
    if name != "run":
        assert listed - {0, 1, 2} <= used | shared | access
    if name not in ("run", "doctor"):
        assert access <= listed


@pytest.mark.parametrize(
    "arguments",
    [("ls", "--state", "bogus"), ("wait", "x", "--until", "bogus"), ("report", "log", "x", "m", "--level", "bogus")],
)
def test_a_rejected_choice_names_no_exception(arguments: tuple[str, ...]) -> None:
    done = tidings(*arguments)
    assert done.returncode == 2
    assert re.match(rf"error: invalid value for '{arguments[-2]}': 'bogus' is not one of '", done.stderr)
    assert "Value error" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("serve", "--memory", "--contract", "/nope.json"), ("contract", "check", "x", "--contract", "/nope.toml")],
)
def test_a_missing_contract_file_has_a_hint_about_its_path(arguments: tuple[str, ...]) -> None:
    done = tidings(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: cannot read {arguments[-1]}: No such file or directory\nhint: Check the path.\n"
