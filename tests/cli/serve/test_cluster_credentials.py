"""`tidings serve --log-credentials`: users of NATS that are identified by keys, with real servers."""

from collections.abc import Iterator
from pathlib import Path
from signal import Signals

import pytest
from tests.cli.serve.cluster_processes import NodeHub, start_node_without_its_journal, wait_for_positions
from tests.cli.serve.worker_processes import wait_until
from tests.nats_accounts import Key, Operator, new_user_key
from tests.nats_server import NatsServer, start_configured, write_configuration

from tidings.log.journal.jetstream_permissions import SUBSCRIBE, list_publish_permissions
from tidings.log.journal.jetstream_stream import parse_address

PUBLISH = list_publish_permissions(parse_address("nats://127.0.0.1/hubs"))


@pytest.fixture
def operator() -> Operator:
    return Operator()


@pytest.fixture
def server(tmp_path: Path, operator: Operator) -> Iterator[NatsServer]:
    server = start_configured(tmp_path / "nats", operator.configuration)
    yield server
    server.stop()


def credentials(operator: Operator, path: Path) -> tuple[str, str]:
    """Write a file with a new user of an operator; return the options that use it."""
    operator.write_credentials(path, PUBLISH, SUBSCRIBE)
    return "--log-credentials", str(path)


def allow_nkey(key: Key) -> str:
    """Return the configuration of a server with one user, who has an NKey."""
    names = {"publish": PUBLISH, "subscribe": SUBSCRIBE}
    permissions = ", ".join(f"{name}: [{', '.join(map(repr, subjects))}]" for name, subjects in names.items())
    return f"authorization: {{users: [{{nkey: {key.public}, permissions: {{{permissions}}}}}]}}"


def test_files_of_credentials_are_used_and_others_are_refused(
    tmp_path: Path, operator: Operator, server: NatsServer
) -> None:
    journal = f"{server.url}/hubs"
    own, another = (credentials(operator, tmp_path / f"{name}.creds") for name in ("own", "another"))
    foreign = credentials(Operator(), tmp_path / "foreign.creds")
    with NodeHub(tmp_path / "a", journal, *own) as first, NodeHub(tmp_path / "b", journal, *another) as second:
        positions = [first.publish(), second.publish()]
        wait_for_positions(first, positions)
        wait_for_positions(second, positions)
        assert second.stop()[0] == 0
    with start_node_without_its_journal(tmp_path / "b", journal, *foreign) as refused:
        assert "Check the user in the URL, or the file" in refused.wait_for_log("refused the credentials")


def test_node_whose_user_was_revoked_continues_with_new_credentials(
    tmp_path: Path, operator: Operator, server: NatsServer
) -> None:
    path = tmp_path / "hub.creds"
    user = operator.write_credentials(path, PUBLISH, SUBSCRIBE)
    with NodeHub(tmp_path / "a", f"{server.url}/hubs", "--log-credentials", str(path)) as hub:
        positions = [hub.publish()]
        operator.revoke(user)
        write_configuration(tmp_path / "nats", operator.configuration)
        server.send(Signals.SIGHUP)
        # The driver closes a connection for good after this error, as after that of credentials that have expired.
        assert "user authentication revoked" in hub.wait_for_log("ended the connection")
        wait_until(lambda: hub.readiness() == (503, "log_unavailable"))
        operator.write_credentials(path, PUBLISH, SUBSCRIBE)
        wait_until(lambda: hub.readiness() == (200, ""))
        positions.append(hub.publish())
        wait_for_positions(hub, positions)
        code, _, stderr = hub.stop()
    assert (code, "Traceback" in stderr) == (0, False)


def test_nkey_identifies_the_user(tmp_path: Path) -> None:
    key, other = new_user_key(), new_user_key()
    server = start_configured(tmp_path / "nats", allow_nkey(key))
    for name, each in (("own", key), ("other", other)):
        (tmp_path / f"{name}.nk").write_bytes(each.seed)
    journal = f"{server.url}/hubs"
    try:
        with NodeHub(tmp_path / "a", journal, "--log-credentials", str(tmp_path / "own.nk")) as hub:
            hub.publish()
            code, _, stderr = hub.stop()
        assert (code, "does not let the user" in stderr) == (0, False)
        options = ("--log-credentials", str(tmp_path / "other.nk"))
        with start_node_without_its_journal(tmp_path / "b", journal, *options) as refused:
            refused.wait_for_log("refused the credentials")
    finally:
        server.stop()


def test_node_continues_with_another_nkey_in_its_file(tmp_path: Path) -> None:
    key, new = new_user_key(), new_user_key()
    server = start_configured(tmp_path / "nats", allow_nkey(key))
    file = tmp_path / "hub.nk"
    file.write_bytes(key.seed)
    try:
        with NodeHub(tmp_path / "a", f"{server.url}/hubs", "--log-credentials", str(file)) as hub:
            positions = [hub.publish()]
            write_configuration(tmp_path / "nats", allow_nkey(new))
            server.send(Signals.SIGHUP)
            wait_until(lambda: hub.readiness() == (503, "log_unavailable"))
            file.write_bytes(new.seed[:10])  # as while it is being written
            hub.wait_for_log("the credentials cannot be used")
            file.write_bytes(new.seed)
            wait_until(lambda: hub.readiness() == (200, ""))
            positions.append(hub.publish())
            wait_for_positions(hub, positions)
            code, _, stderr = hub.stop()
        assert (code, "Traceback" in stderr) == (0, False)
    finally:
        server.stop()


def test_permission_that_is_missing_is_named_with_a_hint(tmp_path: Path) -> None:
    listed = ", ".join(f"'{subject}'" for subject in PUBLISH if subject != "hubs.journal")
    user = f"{{user: hub, password: secret, permissions: {{publish: [{listed}], subscribe: ['_INBOX.>']}}}}"
    server = start_configured(tmp_path / "nats", f"authorization: {{users: [{user}]}}")
    environ = {"TIDINGS_LOG": f"nats://hub:secret@127.0.0.1:{server.port}/hubs"}
    try:
        with start_node_without_its_journal(tmp_path / "a", "", env=environ) as hub:
            log = hub.wait_for_log('let the user of the hubs publish "hubs.journal"')
            assert "docs/cluster.md" in log
            assert hub.readiness() == (503, "log_opening")
    finally:
        server.stop()
