import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import msgspec
import pytest
from tests.access.servers import reply, serving
from tests.cli.processes import TIMEOUT_S, Hub, Terminal, tidings
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tidings.cli.serve.access import ADMIN_KEY_FILE
from tidings.protocol.messages import SUBPROTOCOL

EVENT = '{"dataset": "d"}'


class KeyHub(Hub):
    """A hub with API keys in a data folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        super().__init__("--data", str(folder), "--auth", "keys", *options, memory=False)

    def admin_key(self) -> str:
        return (self.folder / ADMIN_KEY_FILE).read_text().strip()

    def add(self, name: str, *grants: str) -> str:
        done = tidings("key", "add", name, *(f"--grant={grant}" for grant in grants), "--data", str(self.folder))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def revoke(self, name: str) -> None:
        assert tidings("key", "revoke", name, "--data", str(self.folder)).returncode == 0

    def connect(self, key: str) -> ClientConnection:
        return connect(
            self.url,
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
            additional_headers={"Authorization": f"Bearer {key}"},
        )

    def wait_for_log(self, event: str) -> dict[str, object]:
        """Return the next log line of an event; the hub logs in JSON."""
        assert self.process.stderr is not None
        for raw in self.process.stderr:
            line: dict[str, object] = json.loads(raw)
            if line["event"] == event:
                return line
        raise AssertionError(f"the hub ended without {event!r}")


def read_until(connection: ClientConnection, type: str) -> dict[str, object]:
    while True:
        message: dict[str, object] = json.loads(connection.recv(timeout=TIMEOUT_S))
        if message["type"] == type:
            return message


def who(hub: KeyHub, key: str) -> object:
    with hub.connect(key) as connection:
        established = read_until(connection, "connection:established")["data"]
        assert isinstance(established, dict)
        return established["auth"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_address_that_others_can_reach_is_refused_without_authentication(host: str) -> None:
    options = ("--host", host) if host else ()
    done = tidings("serve", "--memory", "--port", "0", *options, TIDINGS_HOST=host or "0.0.0.0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "without authentication: other machines could read and publish everything" in done.stderr
    assert "--auth keys" in done.stderr
    assert "--insecure" in done.stderr


@pytest.mark.parametrize(
    ("options", "named", "method"),
    [
        (("--jwks-url", "https://login.example.com/jwks"), "--jwks-url", "jwt"),
        (("--jwt-secret-file", "secret", "--auth", "keys"), "--jwt-secret-file", "jwt"),
        (("--jwt-audience", "tidings"), "--jwt-audience", "jwt"),
        (("--keys", "keys.jsonl"), "--keys", "keys"),
        (("--forward-auth-url", "http://127.0.0.1:1/"), "--forward-auth-url", "forward"),
        (("--forward-auth-header", "user=X-User"), "--forward-auth-header", "forward"),
        (("--grant-template", "read data"), "--grant-template", "jwt"),
        (("--auth-cookie", "__Host-session"), "--auth-cookie", "keys"),
    ],
)
def test_option_of_a_method_that_is_off_is_refused(
    options: tuple[str, ...], named: str, method: str, tmp_path: Path
) -> None:
    done = tidings("serve", "--data", str(tmp_path / "data"), "--port", "0", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: {named} has no effect without --auth {method}\nhint: Add --auth {method}" in done.stderr


def test_new_key_is_valid_at_once(tmp_path: Path) -> None:
    with KeyHub(tmp_path / "data") as hub:
        for name in ("one", "two", "three"):
            assert who(hub, hub.add(name, "read data")) == name


def test_credential_of_another_kind_is_refused_with_those_of_the_hub(tmp_path: Path) -> None:
    with KeyHub(tmp_path / "data") as hub:
        done = tidings("login", hub.url, stdin="hunter2\n", XDG_CONFIG_HOME=str(tmp_path))
    assert done.returncode == 77
    assert "hint: This hub accepts API keys, as `tidings key add` prints them." in done.stderr


def test_job_of_a_named_run_is_published_with_a_grant_for_its_ids_only(tmp_path: Path) -> None:
    with KeyHub(tmp_path / "data") as hub:
        added = tidings("key", "add", "nightly", "--grant", "publish operations/nightly.*", "--data", str(hub.folder))
        key = added.stdout.strip()
        command = ("--url", hub.url, "--", sys.executable, "-c", "print(6*7)")
        done = tidings("run", "--id", "nightly.backup", *command, TIDINGS_TOKEN=key)
        assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")
        shown = tidings("show", "--json", "nightly.backup", "--url", hub.url, TIDINGS_TOKEN=hub.admin_key())
        assert msgspec.json.decode(shown.stdout)["state"] == "complete"
        reader = hub.add("reader", "read operations")
        silent = tidings("run", *command, TIDINGS_TOKEN=reader)
        assert (silent.returncode, silent.stdout) == (0, "42\n")
        assert "Use a token or key with a grant such as `publish operations`." in silent.stderr
        other = tidings("run", *command, TIDINGS_TOKEN=key)
        assert (other.returncode, other.stdout) == (0, "42\n")
        assert "This subject may publish to operations/nightly.*" in other.stderr


def test_insecure_has_no_effect_on_a_hub_with_authentication(tmp_path: Path) -> None:
    with KeyHub(tmp_path / "data", "--insecure") as hub:
        assert tidings("publish", "data:update", EVENT, "--url", hub.url).returncode != 0
        _, _, stderr = hub.stop()
    assert "--insecure has no effect" in stderr


def test_first_start_stores_an_admin_key_that_never_reaches_the_logs(tmp_path: Path) -> None:
    with KeyHub(tmp_path / "data", "--host", "0.0.0.0", "--log-level", "debug") as hub:
        key = hub.admin_key()
        file = hub.folder / ADMIN_KEY_FILE
        assert file.stat().st_mode & 0o777 == 0o600
        assert who(hub, key) == "admin"
        published = tidings("publish", "data:update", EVENT, "--url", hub.url, TIDINGS_TOKEN_FILE=str(file))
        assert published.returncode == 0, published.stderr
        _, stdout, stderr = hub.stop()
    assert key not in stdout + stderr
    assert str(file) in stderr
    assert "cross the network unencrypted" in stderr
    with KeyHub(tmp_path / "data") as again:
        assert who(again, key) == "admin"
        _, _, stderr = again.stop()
    assert "first admin key" not in stderr
    (line,) = tidings("key", "list", "--data", str(tmp_path / "data")).stdout.splitlines()
    assert line.split("\t")[5], "the time of last use is stored"


def test_first_start_on_a_terminal_shows_the_admin_key_once(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    options = ("serve", "--data", data, "--port", "0", "--auth", "keys")
    with Terminal(*options, columns=200) as terminal:
        shown = terminal.wait_for("hub ready")
        terminal.press(b"\x03")
        assert terminal.wait() == 0
    key = next(line.strip() for line in shown.splitlines() if line.strip().startswith("tdk_"))
    assert "Store it for your commands with `tidings login ws://127.0.0.1:" in shown
    assert terminal.shown.count(key) == 1
    assert not (tmp_path / "data" / ADMIN_KEY_FILE).exists()
    with Terminal(*options, columns=200) as terminal:
        shown = terminal.wait_for("hub ready")
        terminal.press(b"\x03")
        terminal.wait()
    assert "tdk_" not in terminal.shown


def test_start_after_a_key_was_added_creates_no_admin_key(tmp_path: Path) -> None:
    data = tmp_path / "data"
    key = tidings("key", "add", "ci", "--grant", "read data", "--data", str(data)).stdout.strip()
    with KeyHub(data) as hub:
        assert who(hub, key) == "ci"
        assert not (data / ADMIN_KEY_FILE).exists()


def test_hub_starts_with_keys_in_a_folder_that_it_cannot_write(tmp_path: Path) -> None:
    key = tidings("key", "add", "ci", "--grant", "read data", "--data", str(tmp_path)).stdout.strip()
    for name in ("keys.jsonl.lock", "keys.jsonl.used"):  # as in a read-only folder, also for root
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).mkdir()
    with KeyHub(tmp_path) as hub:
        assert who(hub, key) == "ci"
        code, _, stderr = hub.stop()
    assert code == 0, stderr
    assert "Traceback" not in stderr


def test_client_without_a_key_is_refused(tmp_path: Path) -> None:
    with KeyHub(tmp_path / "data") as hub:
        done = tidings("publish", "data:update", EVENT, "--url", hub.url)
        assert done.returncode != 0
        key = hub.admin_key()
        forged = key[:-1] + ("3" if key.endswith("2") else "2")
        wrong = tidings("publish", "data:update", EVENT, "--url", hub.url, TIDINGS_TOKEN=forged)
        assert "API key" in wrong.stderr
        assert hub.admin_key()[13:] not in wrong.stderr


def test_running_hub_follows_added_and_revoked_keys(tmp_path: Path) -> None:
    with KeyHub(tmp_path / "data", "--log-format", "json") as hub:
        key = hub.add("ci", "read data")
        recorded = hub.wait_for_log("key")
        assert (recorded["subject"], recorded["change"], recorded["key_id"]) == ("ci", "added", key[4:12])
        hub.wait_for_log("API keys reloaded")
        with hub.connect(key) as connection, hub.connect(hub.admin_key()) as admin:
            read_until(connection, "connection:established")
            hub.revoke("ci")
            failed = read_until(connection, "auth:failed")["data"]
            assert isinstance(failed, dict)
            assert failed["code"] == "credential_revoked"
            read_until(connection, "connection:closed")
            with pytest.raises(ConnectionClosed) as closed:
                connection.recv(timeout=TIMEOUT_S)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4001
            admin.send(json.dumps({"type": "connection:ping", "id": "1", "data": None}))
            read_until(admin, "connection:pong")


def test_broken_key_file_keeps_the_keys_and_is_reported(tmp_path: Path) -> None:
    with KeyHub(tmp_path / "data", "--log-format", "json") as hub:
        file = hub.folder / "keys.jsonl"
        file.chmod(0o644)
        hub.signal(signal.SIGHUP)
        refused = hub.wait_for_log("reload refused: the old one stays in use")
        assert f"chmod 600 {file}" in str(refused["hint"])
        assert who(hub, hub.admin_key()) == "admin"
        file.chmod(0o600)
        file.write_text("broken\n")
        line = hub.wait_for_log("the changed API keys are refused: the old ones stay in use")
        assert (line["code"], line["level"]) == ("invalid_key_file", "error")
        assert "Correct the line" in str(line["hint"])
        hub.signal(signal.SIGHUP)
        assert "Correct the line" in str(hub.wait_for_log("reload refused: the old one stays in use")["hint"])
        assert who(hub, hub.admin_key()) == "admin"
        with urlopen(f"{hub.http}readyz", timeout=TIMEOUT_S) as answer:
            assert answer.status == 200


def test_key_file_that_others_can_read_is_refused_at_the_start(tmp_path: Path) -> None:
    tidings("key", "add", "ci", "--grant", "read data", "--data", str(tmp_path))
    (tmp_path / "keys.jsonl").chmod(0o640 | 0o004)
    done = tidings("serve", "--data", str(tmp_path), "--port", "0", "--auth", "keys")
    assert (done.returncode, done.stdout) == (2, "")
    assert "other users can read it (mode 0644)" in done.stderr


def test_keys_in_memory_need_a_named_file(tmp_path: Path) -> None:
    done = tidings("serve", "--memory", "--port", "0", "--auth", "keys")
    assert done.returncode == 2
    assert "hint: Pass --keys FILE, or --data DIR." in done.stderr
    with Hub("--auth", "keys", "--keys", str(tmp_path / "k.jsonl")) as hub:
        key = (tmp_path / ADMIN_KEY_FILE).read_text().strip()
        assert tidings("publish", "data:update", EVENT, "--url", hub.url, TIDINGS_TOKEN=key).returncode == 0


# Tokens.


def issue(secret: Path, *options: str) -> str:
    done = tidings("token", "issue", "--secret-file", str(secret), *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write_secret(path: Path, text: str) -> Path:
    path.write_text(text * 40)
    path.chmod(0o600)
    return path


def wait_until_accepted(hub: Hub, token: str) -> None:
    """Publish until the hub accepts the token: it reads a changed file within two seconds."""
    deadline = time.monotonic() + TIMEOUT_S
    while tidings("publish", "data:update", EVENT, "--url", hub.url, TIDINGS_TOKEN=token).returncode:
        assert time.monotonic() < deadline, "the hub never accepted the token"


def test_tokens_and_keys_are_accepted_together_and_the_secret_is_reloaded(tmp_path: Path) -> None:
    secret = write_secret(tmp_path / "secret", "a")
    with KeyHub(tmp_path / "data", "--auth", "jwt", "--jwt-secret-file", str(secret), "--log-format", "json") as hub:
        old = issue(secret, "--subject", "ada", "--grant", "publish data")
        assert who(hub, old) == "ada"
        assert who(hub, hub.admin_key()) == "admin"
        with hub.connect(old) as connection:
            read_until(connection, "connection:established")
            write_secret(secret, "b")
            hub.signal(signal.SIGHUP)
            failed = read_until(connection, "auth:failed")["data"]
            assert isinstance(failed, dict)
            assert failed["code"] == "invalid_token"
        wait_until_accepted(hub, issue(secret, "--subject", "ada", "--grant", "publish data"))


def test_templates_in_the_config_file_are_reloaded(tmp_path: Path) -> None:
    secret = write_secret(tmp_path / "secret", "a")
    config = tmp_path / "hub.toml"
    written = f'auth = ["jwt"]\njwt-secret-file = "{secret}"\n[grants]\n'
    config.write_text(written + 'read = "data/{sub}"\n')
    token = issue(secret, "--subject", "ada")
    with Hub("--config", str(config)) as hub:
        refused = tidings("publish", "data:update", '{"dataset": "ada"}', "--url", hub.url, TIDINGS_TOKEN=token)
        assert "forbidden" in refused.stderr
        config.write_text(written + 'read = "data/{sub}"\npublish = ["data/{sub}", "operations/{sub}.*"]\n')
        hub.signal(signal.SIGHUP)
        assert hub.process.stderr is not None
        assert any(b"reloaded" in line for line in hub.process.stderr)
        done = tidings("publish", "data:update", '{"dataset": "ada"}', "--url", hub.url, TIDINGS_TOKEN=token)
        assert done.returncode == 0, done.stderr
        config.unlink()
        os.mkfifo(config)  # no one writes to it, and the hub must not wait
        hub.signal(signal.SIGHUP)
        assert any(b"expected a regular file" in line for line in hub.process.stderr)
        done = tidings("publish", "data:update", '{"dataset": "ada"}', "--url", hub.url, TIDINGS_TOKEN=token)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--auth", "forward", "--jwks-url", "https://a/b"), "--auth forward: no option names the server"),
        ((), "--auth jwt: no option names the keys that verify tokens"),
        (("--jwt-secret-file", "s", "--jwks-url", "https://a"), "--auth jwt: several options name keys"),
        (("--jwt-secret-file", "absent"), "cannot read 'absent'"),
        (("--jwks-url", "ftp://a/b"), "ftp://a/b"),
        (("--jwks-url", "https://a/b", "--jwt-algorithm", "none"), "invalid algorithm 'none'"),
        (("--jwks-url", "https://a/b", "--grant-template", "fly {sub}"), "invalid template of grants"),
    ],
)
def test_wrong_options_of_tokens_are_errors_at_the_start(options: tuple[str, ...], error: str) -> None:
    done = tidings("serve", "--memory", "--port", "0", "--auth", "jwt", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert error in done.stderr
    assert "hint: " in done.stderr


@pytest.mark.parametrize("grants", ['[grants]\nfly = "x"', "grants = 5", "[grants]\nread = 5"])
def test_wrong_table_of_grants_is_an_error(tmp_path: Path, grants: str) -> None:
    config = tmp_path / "hub.toml"
    config.write_text(grants)
    done = tidings("serve", "--memory", "--port", "0", "--config", str(config))
    assert done.returncode == 2
    assert "invalid [grants]" in done.stderr


def test_shown_configuration_has_no_secrets(tmp_path: Path) -> None:
    secret = write_secret(tmp_path / "secret", "a")
    config = tmp_path / "hub.toml"
    config.write_text(
        'grant_template = "details"\n[grants]\nadmin = "if groups=operators"\nread = ["data/{sub}", "system"]\n'
    )
    done = tidings(
        *("serve", "--show-config", "--config", str(config), "--auth", "jwt", "--jwt-secret-file", str(secret)),
        TIDINGS_TOKEN="s" * 40,
    )
    assert done.returncode == 0
    assert 'grant-template = ["details", "admin if groups=operators", "read data/{sub}", "read system"]' in done.stdout
    assert "a" * 40 not in done.stdout
    assert "s" * 40 not in done.stdout


def test_server_for_single_sign_on_identifies_requests_beside_keys(tmp_path: Path) -> None:
    def answer_as_authelia(request: BaseHTTPRequestHandler) -> None:
        if "session=ada" in request.headers.get("Cookie", ""):
            reply(request, Remote_User="ada", Remote_Groups="users,operators")
        else:
            reply(request, status=401)

    config = tmp_path / "hub.toml"
    config.write_text('[grants]\nread = "data/{groups}.*"\n')
    with serving(answer_as_authelia) as url:
        options = ("--auth", "forward", "--forward-auth-url", f"{url}/auth", "--config", str(config))
        with KeyHub(tmp_path / "data", *options) as hub:
            for cookie, path, expected in (
                ("session=ada", "data/operators.x", 200),
                ("session=ada", "data/admins.x", 403),
                ("session=eve", "data/operators.x", 401),
            ):
                request = Request(f"{hub.http}v1/snapshot?channel={path}", headers={"Cookie": cookie})
                try:
                    with urlopen(request, timeout=TIMEOUT_S) as answer:
                        status = answer.status
                except HTTPError as error:
                    status = error.code
                assert status == expected
            assert who(hub, hub.admin_key()) == "admin"


def test_headers_of_another_server_for_single_sign_on_are_named_by_options(tmp_path: Path) -> None:
    def answer_with_its_own_headers(request: BaseHTTPRequestHandler) -> None:
        reply(request, X_Webauth_User="ada", X_Teams="users,operators", X_Remote_Groups="admins")

    with serving(answer_with_its_own_headers) as url:
        options = [
            *("--auth", "forward", "--forward-auth-url", f"{url}/auth", "--grant-template", "read data/{groups}.*"),
            *("--forward-auth-header", "user=X-Webauth-User", "--forward-auth-header", "groups=X-Teams"),
        ]
        with KeyHub(tmp_path / "data", *options) as hub:
            request = Request(f"{hub.http}v1/whoami", headers={"Cookie": "session=1"})
            with urlopen(request, timeout=TIMEOUT_S) as answer:
                found = json.load(answer)
    assert found["subject"] == "ada"
    assert found["grants"] == ["read data/operators.*", "read data/users.*", "read global"]


def test_audit_log_is_a_file_that_can_be_rotated(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    with KeyHub(tmp_path / "data", "--audit-log", str(audit), "--log-format", "json") as hub:
        with pytest.raises(HTTPError):
            urlopen(f"{hub.http}v1/snapshot", timeout=TIMEOUT_S)
        records = [json.loads(line) for line in audit.read_text().splitlines()]
        assert [(each["outcome"], each["code"]) for each in records] == [("refused", "unauthenticated")]
        audit.rename(tmp_path / "audit.1")
        hub.signal(signal.SIGHUP)
        hub.wait_for_log("reloaded")
        hub.wait_for_log("reloaded")
        with pytest.raises(HTTPError):
            urlopen(f"{hub.http}v1/snapshot", timeout=TIMEOUT_S)
        (tmp_path / "data" / "keys.jsonl").write_text("broken")
        hub.signal(signal.SIGHUP)
        hub.wait_for_log("reload refused: the old one stays in use")
        with pytest.raises(HTTPError):  # which is recorded after the reload
            urlopen(f"{hub.http}v1/snapshot", timeout=TIMEOUT_S)
        records = [json.loads(line) for line in audit.read_text().splitlines()]
        reloads = [each for each in records if each["action"] == "reload"]
        assert [each["action"] for each in records[:3]] == ["reload", "reload", "request"]
        assert [each["part"] for each in reloads[:2]] == ["audit log", "API keys"]
        refused = [each for each in reloads if each["outcome"] == "refused"]
        assert {(each["part"], each["code"]) for each in refused} == {("API keys", "invalid_key_file")}


def test_cookie_with_a_key_is_accepted_from_the_own_origin(tmp_path: Path) -> None:
    with KeyHub(tmp_path / "data", "--auth-cookie", "session") as hub:
        request = Request(f"{hub.http}v1/snapshot", headers={"Cookie": f"session={hub.admin_key()}"})
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            assert answer.status == 200


def test_health_of_a_hub_with_keys_is_open(tmp_path: Path) -> None:
    with KeyHub(tmp_path / "data") as hub:
        with urlopen(f"{hub.http}healthz", timeout=TIMEOUT_S) as answer:
            assert answer.status == 200
        with pytest.raises(HTTPError):
            urlopen(f"{hub.http}v1/nowhere", timeout=TIMEOUT_S)


def test_rate_of_a_subject_is_shared_by_its_connections_and_posts(tmp_path: Path) -> None:
    with KeyHub(tmp_path / "data", "--subject-events-per-s", "1") as hub:
        key = hub.admin_key()
        body = json.dumps({"type": "data:update", "data": {"dataset": "d"}})
        with hub.connect(key) as connection:
            read_until(connection, "connection:established")
            for number in range(6):
                connection.send(json.dumps({**json.loads(body), "id": str(number)}))
            refused = read_until(connection, "connection:error")["data"]
            assert isinstance(refused, dict)
            assert refused["code"] == "rate_limited"
        request = Request(
            f"{hub.http}v1/events",
            body.encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
        )

        def post_often() -> None:
            for _ in range(100):  # more than the bucket fills in the meantime
                urlopen(request, timeout=TIMEOUT_S).close()

        with pytest.raises(HTTPError) as caught:
            post_often()
        assert caught.value.code == 429
        assert int(caught.value.headers["Retry-After"]) >= 1
        assert json.loads(caught.value.read())["retry_after_ms"] >= 1
