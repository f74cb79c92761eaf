import os
from pathlib import Path

import pytest
from tests.cli.run.runs import calls, python, run


def test_command_not_found_exits_with_127(tmp_path: Path) -> None:
    report = tmp_path / "report"
    result = run(report, "no-such-command-anywhere")
    assert result.returncode == 127
    assert result.stdout == b""
    assert b"tidings: no-such-command-anywhere: command not found" in result.stderr
    started, failed = calls(report)
    assert started["call"] == "started"
    assert (failed["code"], failed["details"]) == ("command_not_found", "")
    assert "PATH" in failed["hint"]


def test_missing_path_exits_with_127(tmp_path: Path) -> None:
    result = run(tmp_path / "report", str(tmp_path / "missing"))
    assert result.returncode == 127
    assert b"no such file" in result.stderr


@pytest.mark.parametrize("kind", ["not executable", "folder", "missing interpreter"])
def test_command_not_executable_exits_with_126(tmp_path: Path, kind: str) -> None:
    program = tmp_path / "program"
    if kind == "folder":
        program.mkdir()
    else:
        program.write_text("#!/no/such/interpreter\n" if kind == "missing interpreter" else "echo hi\n")
        program.chmod(0o755 if kind == "missing interpreter" else 0o644)
    result = run(tmp_path / "report", str(program))
    assert result.returncode == 126
    assert str(program).encode() in result.stderr
    assert calls(tmp_path / "report")[-1]["code"] == "command_not_executable"


def test_command_without_a_base_name_is_named_as_it_is_written(tmp_path: Path) -> None:
    assert run(tmp_path / "report", "/").returncode == 126
    assert calls(tmp_path / "report")[0]["name"] == "/"


def test_script_without_shebang_is_run_by_the_shell(tmp_path: Path) -> None:
    script = tmp_path / "without-first-line"
    script.write_text('echo "got $1"\n')
    script.chmod(0o755)
    assert run(tmp_path / "report", str(script), "it").stdout == b"got it\n"
    by_name = run(tmp_path / "report", "without-first-line", "it", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert by_name.stdout == b"got it\n"


def test_failing_reporter_is_mentioned_once_and_changes_nothing(tmp_path: Path) -> None:
    source = "import sys, time\nfor i in range(3): print(i); time.sleep(0.12)\nsys.exit(5)"
    result = run(tmp_path / "report", *python(source), reporter="--broken")
    assert result.returncode == 5
    assert result.stdout == b"0\n1\n2\n"
    assert result.stderr.count(b"tidings:") == 1
    assert b"no hub for started" in result.stderr


def test_blocked_reporter_delays_no_output_and_the_end_briefly(tmp_path: Path) -> None:
    result = run(tmp_path / "report", "seq", "200000", reporter="--stuck", timeout=60)
    assert result.returncode == 0
    assert result.stdout.count(b"\n") == 200_000
    assert result.stderr.count(b"tidings:") == 1


def test_flood_of_output_passes_and_its_last_line_is_read(tmp_path: Path) -> None:
    report = tmp_path / "report"
    result = run(report, "sh", "-c", "seq 1 1000000; exit 3")
    assert result.stdout.endswith(b"\n1000000\n")
    assert len(result.stdout) == 6_888_896
    failed = calls(report)[-1]
    assert failed["details"].splitlines()[-2:] == ["999999", "1000000"]
