"""Sockets that send at full speed are ended with a code, and what they leave unfinished is bounded."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.hostile.measure import SHORT_PAUSES, Pauses, measure
from benchmarks.hostile.peer import CLOSE, COMPRESSED, CONTINUATION, PING, TEXT, Peer, frame, message
from benchmarks.hostile.registry import all_attacks
from tests.hub.hub_process import HubProcess

from tidings.hub.rate_limits import MAX_OVERHEAD
from tidings.server.websocket.inbound_budget import MAX_INBOUND_BYTES

pytestmark = pytest.mark.alone

SPARE_BYTES = 64 << 20
"""Memory beside the counted bytes: buffers of reads, and what the allocator keeps."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """The hub of all floods: what one left behind would hurt the next."""
    with HubProcess(tmp_path_factory.mktemp("floods")) as running:
        yield running


@pytest.mark.parametrize(
    ("first", "one"),
    [
        (b"", frame(b"", PING)),
        (frame(b"", TEXT, fin=False), frame(b"", CONTINUATION, fin=False)),
        (b"", frame(b"{")),
        (b"", message("no:such", None, id="x")),
        (b"", message("operation:progress", {"operation_id": "", "progress": 1})),
        (frame(b"", TEXT | COMPRESSED, fin=False), frame(b"", CONTINUATION, fin=False)),
    ],
    ids=["pings", "empty fragments", "garbage", "unknown types", "invalid events", "compressed fragments"],
)
def test_flood_of_overhead_is_answered_and_ended(hub: HubProcess, first: bytes, one: bytes) -> None:
    peer = Peer("127.0.0.1", hub.port, compresses=True)
    # More than the hub allows, also if it takes some seconds for them.
    with contextlib.suppress(OSError):
        peer.socket.sendall(first + one * (MAX_OVERHEAD * 5))
    codes = []
    while True:
        opcode, payload = peer.read()
        if opcode == CLOSE:
            break
        if opcode == TEXT:
            codes.append(json.loads(payload)["data"].get("code"))
    peer.close()
    assert int.from_bytes(payload[:2], "big") == 4029
    assert codes[-2:] == ["abuse", 4029]
    hub.publish([b'{"type":"data:update","data":{"dataset":"d"}}'])


def test_unfinished_messages_are_bounded_together(tmp_path: Path) -> None:
    attack = all_attacks()["unfinished-frames"]
    outcome = measure(attack, tmp_path, seconds=10.0, scale=0.5, pauses=Pauses(hold_s=0.5))
    assert not outcome.hub_ended
    assert outcome.waits.lost == 0
    assert outcome.peak_over_idle_bytes <= MAX_INBOUND_BYTES + SPARE_BYTES
    assert outcome.left_bytes <= SPARE_BYTES


def test_bombs_take_the_memory_of_one_message(tmp_path: Path) -> None:
    for name in ("small-bombs", "large-bombs"):
        folder = tmp_path / name
        folder.mkdir()
        outcome = measure(all_attacks()[name], folder, seconds=3.0, scale=0.2, pauses=SHORT_PAUSES)
        assert not outcome.hub_ended
        assert outcome.waits.lost == 0
        assert outcome.peak_over_idle_bytes <= SPARE_BYTES


def test_publishers_with_full_windows_are_refused_nothing(tmp_path: Path) -> None:
    outcome = measure(all_attacks()["greedy-publishers"], tmp_path, seconds=2.0, scale=0.3, pauses=SHORT_PAUSES)
    assert outcome.waits.lost == 0
    answered = json.dumps((tmp_path / "stderr").read_text(errors="replace"))
    assert "message refused" not in answered
