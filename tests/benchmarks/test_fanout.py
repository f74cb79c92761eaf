"""The benchmark's own parts: both programs compile, deliver everything, and notice when something is missing."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from benchmarks.fanout.compiler import Binaries, compile_binaries, find_compiler, supported
from benchmarks.fanout.load import LoadResult, OptionValue, run_load
from benchmarks.fanout.servers import Server, ServerError, running_server

pytestmark = [
    pytest.mark.skipif(not supported(), reason="the native programs need Linux"),
    pytest.mark.skipif(find_compiler() is None, reason="no C compiler"),
]

ROOT = Path(__file__).parents[2]
SUBSCRIBERS = 50
EVENTS = 200


@pytest.fixture(scope="module")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> Binaries:
    return compile_binaries(tmp_path_factory.mktemp("bin"))


@pytest.fixture
def baseline(binaries: Binaries, tmp_path: Path) -> Iterator[Server]:
    with running_server([str(binaries.baseline)], core=None, log=tmp_path / "baseline.log") as server:
        yield server


def fan_out(binaries: Binaries, server: Server, **options: OptionValue) -> LoadResult:
    settings: dict[str, OptionValue] = {
        "path": "/subscribe",
        "publisher-path": "/publish",
        "subscribers": SUBSCRIBERS,
        "events": EVENTS,
        "seconds": 20,
        "quiet-ms": 3000,
    }
    settings.update({name.replace("_", "-"): value for name, value in options.items()})
    return run_load(binaries.load, "fanout", server, settings)


@pytest.mark.parametrize("in_flight", [1, 32])
def test_closed_loop_delivers_every_event_to_every_subscriber(
    binaries: Binaries, baseline: Server, in_flight: int
) -> None:
    result = fan_out(binaries, baseline, in_flight=in_flight)
    assert result.fault is None
    assert result.events == EVENTS
    assert result.deliveries == EVENTS * SUBSCRIBERS
    assert result.bytes == EVENTS * SUBSCRIBERS * 250
    assert result.latency_us is not None
    assert result.latency_us.readings == EVENTS * SUBSCRIBERS
    assert 0 < result.latency_us.p50 <= result.latency_us.p99 <= result.latency_us.max


def test_open_loop_publishes_at_its_rate_until_its_count(binaries: Binaries, baseline: Server) -> None:
    result = fan_out(binaries, baseline, rate=2000)
    assert result.fault is None
    assert result.deliveries == EVENTS * SUBSCRIBERS
    # The last event is not due before this; how much later it comes is the machine's business.
    assert result.seconds >= (EVENTS - 1) / 2000


def test_dropped_deliveries_are_counted_as_missing(binaries: Binaries, tmp_path: Path) -> None:
    command = [str(binaries.baseline), "--drop-every", "37"]
    with running_server(command, core=None, log=tmp_path / "baseline.log") as server:
        result = fan_out(binaries, server, in_flight=8)
    assert result.missing == EVENTS * SUBSCRIBERS // 37
    assert result.fault is not None
    assert result.stalled


def test_stalled_readers_do_not_keep_others_from_receiving(binaries: Binaries, baseline: Server) -> None:
    result = fan_out(binaries, baseline, in_flight=8, stalled=5)
    assert result.fault is None
    assert result.deliveries == EVENTS * SUBSCRIBERS


def test_idle_connections_are_opened_and_weighed(binaries: Binaries, baseline: Server) -> None:
    options: dict[str, OptionValue] = {"path": "/subscribe", "subscribers": 100, "seconds": 0.1}
    result = run_load(binaries.load, "idle", baseline, options)
    assert result.fault is None
    assert result.connections == 100
    assert 0 < result.resident_kib_before <= result.resident_kib_after


def test_lost_connections_are_reported(binaries: Binaries, baseline: Server) -> None:
    """The baseline speaks no HTTP but the handshake: it hangs up on a POST, and that is not a success."""
    options: dict[str, OptionValue] = {"path": "/v1/events", "connections": 2, "events": 10, "quiet-ms": 300}
    result = run_load(binaries.load, "http", baseline, options)
    assert result.links_gone == 2
    assert result.fault is not None


def test_a_server_that_says_nothing_is_reported_with_its_errors(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo no luck >&2"]
    with (
        pytest.raises(ServerError, match="no luck"),
        running_server(command, core=None, log=tmp_path / "server.log"),
    ):
        pytest.fail("a server without an address must not be yielded")


def test_the_command_measures_and_reports(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.json"
    arguments = ["--baseline-only", "--quick", "--scenario", "fanout-8", "--subscribers", "20", "--seconds", "0.2"]
    command = [sys.executable, "-m", "benchmarks.fanout", *arguments, "--warm-up", "0", "--json", str(numbers)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "8 in flight" in done.stdout
    assert "machine" in done.stdout
    (row,) = msgspec.json.decode(numbers.read_bytes())
    assert row["server"] == "baseline"
    assert row["medians"]["rate"] > 0
    assert row["faults"] == []
