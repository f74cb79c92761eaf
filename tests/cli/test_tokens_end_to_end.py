"""The commands as several people and programs use them, with a hub that asks for JWTs."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cli.hub_log import until
from tests.cli.processes import TIMEOUT_S, Hub, Process, tidings

SECRET = "correct-horse-battery-staple-0123456789abcdef"
SHORT_LIFE = "10s"
"""Life of a token that expires during a run: longer than a loaded machine takes to start one."""


class TokenHub(Hub):
    """A hub with JWTs of one secret, and no leeway, so that a token expires when it says."""

    def __init__(self, folder: Path) -> None:
        self.secret = folder / "secret"
        self.secret.write_text(SECRET)
        self.secret.chmod(0o600)
        self.folder = folder
        super().__init__(
            *("--auth", "jwt", "--jwt-secret-file", str(self.secret), "--jwt-audience", "e2e", "--jwt-leeway", "0s"),
            *("--data", str(folder / "data")),
            memory=False,
        )

    def issue(self, subject: str, *grants: str, expires: str = "1h") -> str:
        """Return a new token."""
        done = tidings(
            *("token", "issue", "--subject", subject, "--secret-file", str(self.secret), "--audience", "e2e"),
            *("--expires", expires, *(f"--grant={grant}" for grant in grants)),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def sessions(self, subject: str) -> list[dict[str, Any]]:
        """Return the open sessions of a subject."""
        headers = {"Authorization": f"Bearer {self.issue('root', 'admin')}"}
        answer = httpx.get(f"{self.http}v1/admin/sessions", headers=headers, timeout=TIMEOUT_S)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["sessions"]
        return [each for each in found if each["subject"] == subject]


class Job:
    """`tidings run` of a command that ends when it is told to."""

    def __init__(self, hub: TokenHub, token_file: Path, id: str) -> None:
        self.gate = hub.folder / f"{id}.gate"
        os.mkfifo(self.gate)
        program = f"print('begun', flush=True); open({str(self.gate)!r}).read(); print('done', flush=True)"
        self.process = Process(
            *("run", "--id", id, "--url", hub.url, "--", sys.executable, "-c", program),
            env={"TIDINGS_TOKEN_FILE": str(token_file)},
        )

    def release(self) -> tuple[int, str, str]:
        """Let the command end, and return how `tidings run` ended."""
        self.gate.write_text("")
        return self.process.wait()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[TokenHub]:
    with TokenHub(tmp_path) as running:
        yield running


def write(path: Path, token: str) -> Path:
    """Replace a file of a token, as a sidecar does."""
    new = path.with_suffix(".new")
    new.write_text(token)
    new.replace(path)
    return path


def states(lines: list[str]) -> list[str]:
    """Return the types of the events in the output of `tidings watch --json`."""
    return [type for line in lines if (type := json.loads(line)["type"]).startswith("operation:")]


def test_run_watch_and_cancel_each_with_its_own_token(hub: TokenHub, tmp_path: Path) -> None:
    operator = hub.issue("olga", "read operations", "cancel operations/nightly.*")
    nightly = write(tmp_path / "nightly", hub.issue("nightly", "publish operations/nightly.*"))
    reader = hub.issue("rita", "read operations/nightly.*")
    with Process("watch", "operations/nightly.*", "--json", "--url", hub.url, env={"TIDINGS_TOKEN": reader}) as watch:
        job = Job(hub, nightly, "nightly.1")
        with job.process:
            lines = watch.read_until('"operation:start"')
            refused = tidings("cancel", "nightly.1", "--url", hub.url, TIDINGS_TOKEN=reader)
            assert refused.returncode != 0
            assert "forbidden" in refused.stderr
            hidden = tidings("ls", "--json", "--url", hub.url, TIDINGS_TOKEN=hub.issue("eve", "read operations/acme.*"))
            assert (hidden.returncode, hidden.stdout) == (0, "")
            cancelled = tidings("cancel", "nightly.1", "--url", hub.url, TIDINGS_TOKEN=operator)
            assert cancelled.returncode == 0, cancelled.stderr
            lines += watch.read_until('"operation:cancelled"')
            assert '"cancelled_by":"olga"' in lines[-1]
            code, _, _ = job.process.wait()
            assert code != 0
    assert states(lines)[0] == "operation:start"


def test_token_that_is_renewed_during_a_run_loses_no_event(hub: TokenHub, tmp_path: Path) -> None:
    reader = hub.issue("rita", "read operations")
    nightly = write(tmp_path / "nightly", hub.issue("nightly", "publish operations", expires="20s"))
    with Process("watch", "operations/n-1", "--json", "--url", hub.url, env={"TIDINGS_TOKEN": reader}) as watch:
        job = Job(hub, nightly, "n-1")
        with job.process:
            lines = watch.read_until('"operation:start"')
            (first,) = hub.sessions("nightly")
            write(nightly, hub.issue("nightly", "publish operations"))
            until(lambda: [each["expires_at"] > first["expires_at"] for each in hub.sessions("nightly")] == [True])
            code, _, told = job.release()
            assert code == 0, told
            assert "token" not in told
            lines += watch.read_until('"operation:complete"')
    assert states(lines).count("operation:start") == 1
    assert not [line for line in lines if '"connection:' in line]


def test_token_that_expires_during_a_run_leaves_its_events_for_flush(hub: TokenHub, tmp_path: Path) -> None:
    reader = hub.issue("rita", "read operations")
    nightly = write(tmp_path / "nightly", hub.issue("nightly", "publish operations", expires=SHORT_LIFE))
    job = Job(hub, nightly, "n-2")
    with (
        job.process,
        Process("watch", "operations/n-2", "--json", "--url", hub.url, env={"TIDINGS_TOKEN": reader}) as watch,
    ):
        watch.read_until('"operation:start"')
        until(lambda: not hub.sessions("nightly"))
        code, _, told = job.release()
        assert code == 0, "the job is not hurt"
        assert "the credential has expired" in told
        done = tidings("flush", "--url", hub.url, TIDINGS_TOKEN=hub.issue("nightly", "publish operations"))
        assert done.returncode == 0, done.stderr
        watch.read_until('"operation:complete"')
    shown = tidings("show", "n-2", "--json", "--url", hub.url, TIDINGS_TOKEN=reader)
    assert json.loads(shown.stdout)["state"] == "complete"
