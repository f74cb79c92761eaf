"""The commands against a hub that identifies its clients."""

import base64
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.access.token_table import TokenTable
from tests.cli.hub_log import until
from tests.cli.processes import Hub, Process, tidings
from tests.client.hub_server import HubServer
from tests.producer.held import told

from tidings.client import sync
from tidings.exceptions import TokenExpired

GRANTS = ("read data", "read operations", "publish data", "publish operations", "cancel operations")


@pytest.fixture
def tokens() -> TokenTable:
    return TokenTable(time.time_ns)


@pytest.fixture
def hub(tokens: TokenTable) -> Iterator[HubServer]:
    with HubServer(access=tokens.options) as server:
        yield server


@pytest.fixture
def config(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


class TestLogin:
    def test_token_is_checked_stored_and_used_by_later_commands(
        self, hub: HubServer, tokens: TokenTable, config: dict[str, str], tmp_path: Path
    ) -> None:
        tokens.add("hunter2", *GRANTS, name="ann", expires_s=7200)
        done = tidings("login", hub.url, stdin="hunter2\n", **config)
        assert (done.returncode, done.stderr) == (0, "")
        shown = re.escape(f"logged in to 127.0.0.1:{hub.port} as ann; the token expires in ") + "(1h59m|2h)"
        assert re.match(shown, done.stdout), done.stdout
        (file,) = (tmp_path / "config" / "tidings" / "logins").iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        who = tidings("whoami", "--json", "--url", hub.url, **config)
        answer = msgspec.json.decode(who.stdout)
        assert (answer["subject"], answer["hub"]) == ("ann", hub.url)
        assert "publish data" in answer["grants"]
        published = tidings("publish", "data:update", '{"dataset": "prices"}', "--url", hub.url, **config)
        assert published.returncode == 0, published.stderr
        assert tidings("ls", "--url", hub.url, **config).returncode == 0
        out = tidings("logout", hub.url, **config)
        assert (out.returncode, out.stdout) == (0, f"logged out of 127.0.0.1:{hub.port}\n")
        assert not file.exists()
        again = tidings("logout", hub.url, **config)
        assert again.returncode == 1
        assert "no login is stored" in again.stderr

    def test_refused_token_is_not_stored_and_not_shown(
        self, hub: HubServer, config: dict[str, str], tmp_path: Path
    ) -> None:
        done = tidings("login", hub.url, stdin="hunter2\n", **config)
        assert done.returncode == 77
        assert done.stderr.startswith("error: unknown token (invalid_token)\nhint: ")
        assert "hunter2" not in done.stdout + done.stderr
        assert not (tmp_path / "config").exists()

    def test_folder_that_cannot_be_written_is_named(self, hub: HubServer, tokens: TokenTable, tmp_path: Path) -> None:
        tokens.add("hunter2", *GRANTS, name="ann")
        (tmp_path / "file").write_text("")
        for command, stdin in (("login", "hunter2\n"), ("logout", "")):
            done = tidings(command, hub.url, stdin=stdin, XDG_CONFIG_HOME=str(tmp_path / "file"))
            assert (done.returncode, done.stdout) == (2, "")
            error, hint = done.stderr.splitlines()
            assert error.startswith(f"error: cannot change the logins in '{tmp_path / 'file'}")
            assert hint.startswith("hint: ")

    def test_login_without_a_token_is_a_usage_error(self, hub: HubServer, config: dict[str, str]) -> None:
        done = tidings("login", hub.url, stdin="\n", **config)
        assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: no token was entered")

    def test_hub_without_authentication_needs_no_login(self, config: dict[str, str], tmp_path: Path) -> None:
        with HubServer() as hub:
            done = tidings("login", hub.url, stdin="hunter2\n", **config)
            assert (done.returncode, "asks for no token" in done.stdout) == (0, True)
            assert not (tmp_path / "config").exists()
            assert "everybody" in tidings("whoami", hub.url, **config).stdout

    def test_plaintext_to_another_machine_is_refused_before_the_question(self, config: dict[str, str]) -> None:
        done = tidings("login", "ws://hub.example.com", stdin="hunter2\n", **config)
        assert done.returncode == 2
        assert "unencrypted" in done.stderr

    def test_whoami_names_its_grants_and_the_source_of_the_token(self, hub: HubServer, tokens: TokenTable) -> None:
        tokens.add("hunter2", "read data", name="ann")
        done = tidings("whoami", hub.url, TIDINGS_TOKEN="hunter2")
        assert done.stdout.splitlines() == [
            "ann (token from TIDINGS_TOKEN)",
            "  read data",
            "  read global",
            "  does not expire",
        ]


COMMANDS = (
    ("watch", "operations"),
    ("publish", "data:update", '{"dataset": "prices"}'),
    ("ls",),
    ("show", "op-1"),
    ("logs", "op-1"),
    ("wait", "op-1"),
    ("cancel", "op-1"),
    ("record", "operations", "--for", "1m"),
    ("report", "start", "import", "--strict"),
)


class TestErrors:
    @pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
    def test_missing_and_refused_tokens_are_one_error_with_a_hint(
        self, hub: HubServer, command: tuple[str, ...]
    ) -> None:
        for token, code in (("", "unauthenticated"), ("hunter2", "invalid_token")):
            done = tidings(*command, "--url", hub.url, TIDINGS_TOKEN=token)
            assert done.returncode == 77, done.stderr
            errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            assert len(errors) == 1
            assert f"({code})" in errors[0]
            assert "\nhint: " in done.stderr
            assert "hunter2" not in done.stdout + done.stderr

    def test_missing_grants_are_named(self, hub: HubServer, tokens: TokenTable) -> None:
        tokens.add("secret", "read data", "publish data/orders")
        for command, allowed in (
            (("watch", "operations"), "data"),
            (("publish", "data:update", '{"dataset": "prices"}'), "data/orders"),
        ):
            done = tidings(*command, "--url", hub.url, TIDINGS_TOKEN="secret")
            assert done.returncode == 77
            assert "(forbidden)" in done.stderr
            assert allowed in done.stderr.partition("hint: ")[2]

    def test_token_on_the_command_line_is_refused_with_the_other_ways(self, hub: HubServer) -> None:
        done = tidings("ls", "--url", hub.url, "--token", "hunter2")
        assert done.returncode == 2
        assert "--token-file" in done.stderr
        assert "hunter2" not in done.stderr

    def test_token_file_option_wins_over_the_variable(self, hub: HubServer, tokens: TokenTable, tmp_path: Path) -> None:
        tokens.add("right", *GRANTS)
        (tmp_path / "token").write_text("right\n")
        done = tidings("ls", "--url", hub.url, "--token-file", str(tmp_path / "token"), TIDINGS_TOKEN="wrong")
        assert (done.returncode, done.stderr) == (0, "")

    def test_script_goes_on_and_its_events_are_sent_once_the_token_is_right(
        self, hub: HubServer, tokens: TokenTable, tmp_path: Path
    ) -> None:
        spool = {"TIDINGS_SPOOL": str(tmp_path / "spool"), "TIDINGS_TOKEN": "hunter2"}
        done = tidings("report", "start", "import", "--id", "op-1", "--url", hub.url, **spool)
        assert done.returncode == 0
        assert "kept on disk" in done.stderr
        tokens.add("hunter2", *GRANTS)
        done = tidings("report", "complete", "op-1", "--url", hub.url, **spool)
        assert (done.returncode, done.stderr) == (0, "")
        assert [kind for kind, _ in told(hub)] == ["start", "complete"]

    def test_flush_leaves_the_spool_of_another_owner_and_names_it(self, tokens: TokenTable, tmp_path: Path) -> None:
        spool = {"TIDINGS_SPOOL": str(tmp_path / "spool")}
        with HubServer(access=tokens.options) as hub:
            port = hub.port
        start = ("report", "start", "import", "--id", "op-1", "--url", hub.url, "--timeout", "100ms")
        assert tidings(*start, TIDINGS_TOKEN=claims("ann"), **spool).returncode == 0
        for subject in ("ann", "bob"):
            tokens.add(claims(subject), *GRANTS, name=subject)
        with HubServer(port, access=tokens.options) as hub:
            done = tidings("flush", "--url", hub.url, TIDINGS_TOKEN=claims("bob"), **spool)
            assert done.returncode == 77
            assert "'sub ann of no issuer'" in done.stderr
            assert told(hub) == []
            done = tidings("flush", "--url", hub.url, TIDINGS_TOKEN=claims("ann"), **spool)
            assert done.returncode == 0
            assert [kind for kind, _ in told(hub)] == ["start"]

    def test_flush_adopts_the_events_of_a_lost_token_if_it_is_asked_to(
        self, tokens: TokenTable, tmp_path: Path
    ) -> None:
        spool = {"TIDINGS_SPOOL": str(tmp_path / "spool")}
        with HubServer(access=tokens.options) as hub:
            port = hub.port
        start = ("report", "start", "import", "--id", "op-1", "--url", hub.url, "--timeout", "100ms")
        assert tidings(*start, TIDINGS_TOKEN=claims("ann"), **spool).returncode == 0
        tokens.add("new", *GRANTS, name="ann")
        with HubServer(port, access=tokens.options) as hub:
            done = tidings("flush", "--url", hub.url, TIDINGS_TOKEN="new", **spool)
            assert (done.returncode, "--adopt" in done.stderr) == (77, True)
            done = tidings("flush", "--adopt", "--url", hub.url, TIDINGS_TOKEN="new", **spool)
            assert done.returncode == 0
            assert [kind for kind, _ in told(hub)] == ["start"]


def claims(subject: str) -> str:
    """Return a token that looks like a JWT."""
    body = base64.urlsafe_b64encode(msgspec.json.encode({"sub": subject})).decode().rstrip("=")
    return f"e30.{body}.c2ln"


SHOW = "import os; print(sorted(name for name in os.environ if name.startswith('TIDINGS_TOKEN')))"


class TestRun:
    def test_wrapped_command_does_not_get_the_token(self, hub: HubServer, tokens: TokenTable, tmp_path: Path) -> None:
        tokens.add("hunter2", *GRANTS)
        both = {"TIDINGS_TOKEN": "hunter2", "TIDINGS_TOKEN_FILE": str(tmp_path / "token")}
        done = tidings("run", "--url", hub.url, "--", sys.executable, "-c", SHOW, **both)
        assert (done.returncode, done.stdout) == (0, "[]\n")
        assert [kind for kind, _ in told(hub)][-1] == "complete", "the run itself has the token"
        done = tidings("run", "--pass-token", "--url", hub.url, "--", sys.executable, "-c", SHOW, **both)
        assert done.stdout == "['TIDINGS_TOKEN', 'TIDINGS_TOKEN_FILE']\n"
        disabled = tidings("run", "--", sys.executable, "-c", SHOW, TIDINGS_DISABLED="1", **both)
        assert disabled.stdout == "[]\n"

    def test_nested_producer_uses_the_stored_login(
        self, hub: HubServer, tokens: TokenTable, config: dict[str, str]
    ) -> None:
        tokens.add("hunter2", *GRANTS, name="ann")
        assert tidings("login", hub.url, stdin="hunter2\n", **config).returncode == 0
        nested = f"import tidings\nwith tidings.operation('nested', url={hub.url!r}): pass"
        done = tidings("run", "--url", hub.url, "--", sys.executable, "-c", nested, **config)
        assert done.returncode == 0, done.stderr
        assert [data.get("name") for kind, data in told(hub) if kind == "start"][1:] == ["nested"]

    @pytest.mark.parametrize("token", ["Bearer hunter2", '"hunter2" ,'])
    def test_token_with_more_than_the_token_is_named_without_it(self, hub: HubServer, token: str) -> None:
        done = tidings("ls", "--url", hub.url, TIDINGS_TOKEN=token)
        assert (done.returncode, done.stdout) == (2, "")
        assert "error: invalid token in TIDINGS_TOKEN: expected printable ASCII without spaces" in done.stderr
        assert "hint: Pass the token alone" in done.stderr
        assert "hunter2" not in done.stderr

    def test_refused_token_leaves_the_command_alone(self, hub: HubServer) -> None:
        done = tidings("run", "--url", hub.url, "--", sys.executable, "-c", "print(6*7)", TIDINGS_TOKEN="hunter2")
        assert (done.returncode, done.stdout) == (0, "42\n")
        (line,) = done.stderr.splitlines()
        assert "kept, and shown when the hub accepts the token" in line
        assert "hunter2" not in line


class TestWatch:
    def test_lost_paths_and_the_end_of_a_token_are_shown(self, hub: HubServer, tokens: TokenTable) -> None:
        tokens.add("writer", *GRANTS)
        tokens.add("hunter2", "read data", "read operations", name="ann")
        with Process("watch", "data", "operations", "--url", hub.url, env={"TIDINGS_TOKEN": "hunter2"}) as watch:
            with sync.connect(hub.url, token="writer") as client:
                client.publish("data:update", {"dataset": "before"})
                watch.read_until("before")
                tokens.add("hunter2", "read data", name="ann")
                hub.call(lambda: hub.app.hub.access.reevaluate())  # type: ignore[union-attr]
                watch.read_until("no longer allowed to read operations")
                client.publish("data:update", {"dataset": "after"})
                watch.read_until("after")
            tokens.subjects["hunter2"] = TokenExpired("the token has expired")
            hub.call(lambda: hub.app.hub.access.reevaluate())  # type: ignore[union-attr]
            code, _, errors = watch.wait()
            assert code == 77
            assert "error: the token has expired (token_expired)" in errors


class TestDoctor:
    def test_access_is_checked(self, hub: HubServer, tokens: TokenTable) -> None:
        tokens.add(claims("ann"), *GRANTS, name="ann")
        done = tidings("doctor", hub.url, TIDINGS_TOKEN=claims("ann"))
        assert done.returncode == 0, done.stdout
        assert "the hub takes this client for ann: " in done.stdout
        assert "read operations" in done.stdout
        assert "; does not expire" in done.stdout
        assert "sub ann of no issuer (from TIDINGS_TOKEN)" in done.stdout

    def test_missing_refused_and_withheld_tokens_are_explained(self, hub: HubServer) -> None:
        done = tidings("doctor", hub.url)
        assert done.returncode == 1
        assert "the hub asks for a token" in done.stdout
        assert "round trip" in done.stdout
        done = tidings("doctor", hub.url, TIDINGS_TOKEN="hunter2")
        assert done.returncode == 1
        assert "unknown token (invalid_token)" in done.stdout
        assert "hunter2" not in done.stdout
        done = tidings("doctor", hub.url, TIDINGS_TOKEN_FILE="/nowhere/token")
        assert "cannot read the token file" in done.stdout


def test_recordings_hold_no_token(hub: HubServer, tokens: TokenTable, tmp_path: Path) -> None:
    tokens.add("hunter2", *GRANTS, name="ann")
    for plain in ([], ["--plain"]):
        command = ("record", *plain, "data", "--url", hub.url)
        with Process(*command, env={"TIDINGS_TOKEN": "hunter2"}) as record:
            shown = "".join(record.read_until("tidings:recording"))
            record.signal(signal.SIGINT)
            code, stdout, stderr = record.wait()
        assert code == 0, stderr
        assert "hunter2" not in shown + stdout + stderr


def test_plain_recording_ends_when_the_hub_refuses_it(hub: HubServer, tokens: TokenTable) -> None:
    tokens.add("hunter2", "read data")
    for token, path in (("wrong", "data"), ("hunter2", "operations")):
        done = tidings("record", "--plain", path, "--for", "1m", "--url", hub.url, TIDINGS_TOKEN=token)
        assert done.returncode == 77, done.stderr
        assert done.stderr.count("error: ") == 1


def test_debug_log_of_a_client_holds_no_token(hub: HubServer, tokens: TokenTable) -> None:
    tokens.add("hunter2", *GRANTS, name="ann")
    code = (
        "import asyncio, logging, sys, tidings\n"
        "logging.basicConfig(level=logging.DEBUG)\n"
        "from tidings.cli.login import identify\n"
        "from tidings.client import sync\n"
        "with sync.connect(sys.argv[1], token='hunter2') as client:\n"
        "    client.publish('data:update', {'dataset': 'd'})\n"
        "print(asyncio.run(identify(sys.argv[1], 'hunter2')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, hub.url], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert "> Authorization: ..." in done.stderr
    assert "auth:token..." in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


def test_recording_is_made_and_replayed_with_a_token_file(hub: HubServer, tokens: TokenTable, tmp_path: Path) -> None:
    tokens.add("hunter2", *GRANTS, name="ann")
    (tmp_path / "token").write_text("hunter2\n")
    with sync.connect(hub.url, token="hunter2") as client:
        client.publish("data:update", {"dataset": "prices"})
    with_token = ("--token-file", str(tmp_path / "token"))
    recording = tmp_path / "recording"
    options = ("--since", "first", "-o", str(recording), "--url", hub.url, *with_token)
    with Process("record", "data", *options) as record:
        until(lambda: recording.exists() and "prices" in recording.read_text())
        record.signal(signal.SIGINT)
        code, _, stderr = record.wait()
    assert code == 0, stderr
    with HubServer(access=tokens.options) as other:
        played = tidings("replay", str(recording), "--speed", "max", "--to", other.url, *with_token)
        assert played.returncode == 0, played.stderr
        assert "1 stored" in played.stderr
        refused = tidings("replay", str(recording), "--speed", "max", "--to", other.url, TIDINGS_TOKEN="wrong")
        assert refused.returncode == 77
        assert "(invalid_token)" in refused.stderr


def test_keys_of_a_served_hub_let_commands_in_until_they_are_revoked(config: dict[str, str], tmp_path: Path) -> None:
    data = str(tmp_path / "hub")
    grants = ("--grant", "publish operations", "--grant", "read operations")
    added = tidings("key", "add", "importer", *grants, "--data", data)
    assert added.returncode == 0, added.stderr
    with Hub("--auth", "keys", "--data", data, memory=False) as served:
        done = tidings("login", served.url, stdin=added.stdout, **config)
        assert (done.returncode, done.stdout.endswith(" as importer\n")) == (0, True), done.stderr
        ran = tidings("run", "--url", served.url, "--", "true", **config)
        assert (ran.returncode, ran.stderr) == (0, "")
        listed = tidings("ls", "--url", served.url, **config)
        assert [line.split("\t")[1:3] for line in listed.stdout.splitlines()] == [["complete", "true"]]
        with Process("watch", "--url", served.url, env=config) as watch:
            watch.read_until("true complete")
            assert tidings("key", "revoke", "importer", "--data", data).returncode == 0
            code, _, errors = watch.wait()
        assert code == 77
        assert "(credential_revoked)" in errors
        assert added.stdout.strip() not in errors
