import pytest

from tidings.cli.watch.command import WatchRequest, connection_state
from tidings.cli.watch.view import ConnectionState
from tidings.client.status import State, Status
from tidings.exceptions import HubUnreachable

URL = "ws://h/ws"
DOWN = HubUnreachable("no hub answers at h")


@pytest.mark.parametrize(
    ("status", "link"),
    [
        (Status(state=State.CONNECTING, age_s=None), ConnectionState(URL, "connecting")),
        (Status(state=State.LIVE, age_s=3.0), ConnectionState(URL, "live")),
        (Status(state=State.CATCHING_UP, age_s=0.0), ConnectionState(URL, "catching up")),
        (Status(state=State.STALE, age_s=72.9), ConnectionState(URL, "stale", "1m12s")),
        (
            Status(state=State.CONNECTING, age_s=9.0, error=DOWN, retry_at=103.4),
            ConnectionState(URL, "reconnecting", "again in 3 s (no hub answers at h)"),
        ),
        (
            Status(state=State.CONNECTING, age_s=9.0, error=DOWN),
            ConnectionState(URL, "reconnecting", "(no hub answers at h)"),
        ),
    ],
)
def test_connection_state_is_described_briefly(status: Status, link: ConnectionState) -> None:
    assert connection_state(status, URL, now=100.0) == link


@pytest.mark.parametrize(
    ("paths", "verbose"),
    [((), False), (("*",), False), (("operations", "system"), True), (("system/tidings",), True)],
)
def test_watch_naming_the_system_channel_is_verbose(paths: tuple[str, ...], verbose: bool) -> None:
    request = WatchRequest(url=None, paths=paths, since="now", pace_ms=0, wait=False, exit_when_done=False)
    assert request.verbose is verbose
