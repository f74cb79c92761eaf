"""`tidings serve --log`: credentials, TLS, permissions and refusals, with real servers."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import nats
import pytest
import trustme
from tests.cli.processes import Process, tidings
from tests.cli.serve.cluster_processes import NodeHub, start_node_without_its_journal
from tests.cli.serve.worker_processes import wait_until
from tests.nats_server import NatsServer, start_configured

PASSWORD = "s3cret-of-the-hubs"


def documented_permissions() -> str:
    """Return the permissions that docs/cluster.md names, for the configuration of nats-server."""
    text = (Path(__file__).parents[3] / "docs" / "cluster.md").read_text()
    found = re.search(r"```\n(publish: .*?)```", text, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def restricted(tmp_path: Path) -> Iterator[NatsServer]:
    """A server whose user may do what docs/cluster.md names, and nothing else."""
    user = f'{{user: hub, password: "{PASSWORD}", permissions: {{{documented_permissions()}}}}}'
    server = start_configured(tmp_path / "restricted", f"authorization: {{users: [{user}]}}")
    yield server
    server.stop()


def url_of(server: NatsServer, password: str = PASSWORD) -> Mapping[str, str]:
    return {"TIDINGS_LOG": f"nats://hub:{password}@127.0.0.1:{server.port}/hubs"}


def test_documented_permissions_suffice_also_for_snapshots(tmp_path: Path, restricted: NatsServer) -> None:
    environ = url_of(restricted)
    with NodeHub(tmp_path / "a", "", env=environ) as hub:
        position = hub.publish()
        log = hub.wait_for_log("the log was saved")
        with NodeHub(tmp_path / "b", "", env=environ) as other:
            wait_until(lambda: other.positions() == [position])
            code, _, stderr = other.stop()
        assert code == 0
        log += stderr + hub.stop()[2]
    assert "a snapshot was loaded" in log
    assert "ermissions Violation" not in log
    assert PASSWORD not in log
    assert "hub@" not in log


def test_wrong_password_is_reported_and_tried_again(tmp_path: Path, restricted: NatsServer) -> None:
    environ = url_of(restricted, "wr0ng")
    with start_node_without_its_journal(tmp_path / "a", "", env=environ) as hub:
        log = hub.wait_for_log("refused the credentials")
        assert hub.readiness() == (503, "log_opening")
        code, stdout, stderr = hub.stop()
    assert (code, stdout) == (0, "")
    assert "wr0ng" not in log + stderr
    assert "Traceback" not in log + stderr


def test_server_with_a_certificate_of_an_own_authority_is_verified(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    tls = f'tls: {{cert_file: "{tmp_path}/cert.pem", key_file: "{tmp_path}/key.pem"}}'
    server = start_configured(tmp_path / "tls", tls)
    url = f"tls://127.0.0.1:{server.port}/hubs"
    try:
        with NodeHub(tmp_path / "a", url, "--log-ca", str(tmp_path / "ca.pem")) as hub:
            hub.publish()
            assert hub.stop()[0] == 0
        with start_node_without_its_journal(tmp_path / "b", url) as hub:
            hub.wait_for_log("CERTIFICATE_VERIFY_FAILED")
    finally:
        server.stop()


REFUSALS = {
    "memory": (["--memory", "--log", "nats://h/n"], "--log and --memory exclude each other"),
    "workers": (["--workers", "2", "--log", "nats://h/n"], "--log and --workers exclude each other"),
    "scheme": (["--log", "redis://h/n"], "expected nats://host:4222/NAME or postgresql://host:5432/database"),
    "no-url": (["--log", "hubs"], "expected nats://host:4222/NAME"),
    "name": (["--log", "nats://h/a.b"], "not a valid name of a stream"),
    "option": (["--log", "nats://h/n?replica=3"], "no option 'replica'"),
    "no-file": (["--log", "nats://h/n", "--log-credentials", "/no/file.creds"], "no file /no/file.creds"),
    "no-ca": (["--log", "nats://h/n", "--log-ca", "/no/ca.pem"], "/no/ca.pem has no certificates"),
    "for-nats": (["--log", "postgresql://h/d", "--log-ca", "/ca.pem"], "sslrootcert"),
    "alone": (["--log-ca", "/ca.pem"], "--log-ca is for the servers that --log names"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_settings_that_do_not_fit_are_refused_with_a_hint(tmp_path: Path, case: str) -> None:
    options, message = REFUSALS[case]
    data = [] if case == "memory" else ["--data", str(tmp_path / "data")]
    done = tidings("serve", "--port", "0", *data, *options)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("url", "extra"), [("nats://h/n", "nats"), ("postgresql://h/d", "asyncpg")])
def test_missing_driver_is_named_with_how_to_install_it(tmp_path: Path, url: str, extra: str) -> None:
    program = f"import sys; sys.modules[{extra!r}] = None; from tidings.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "--port", "0", "--data", str(tmp_path / "data"), "--log", url],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        check=False,
    )
    assert done.returncode == 1
    assert f"needs {extra}, which is not installed" in done.stderr
    assert "pip install 'tidings[all]'" in done.stderr


def test_stream_of_another_program_is_refused(tmp_path: Path) -> None:
    server = start_configured(tmp_path / "foreign", "")

    async def create() -> None:
        connection = await nats.connect(server.url)
        await connection.jetstream().add_stream(name="orders", subjects=["orders.>"])
        await connection.close()

    asyncio.run(create())
    try:
        with Process("serve", "--port", "0", "--data", str(tmp_path / "a"), "--log", f"{server.url}/orders") as hub:
            code, stdout, stderr = hub.wait()
    finally:
        server.stop()
    assert (code, stdout) == (1, "")
    assert "was not created by tidings" in stderr
    assert "Give the journal a name that no other stream has." in stderr
    assert "Traceback" not in stderr
