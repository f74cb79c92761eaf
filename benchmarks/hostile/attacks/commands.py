"""Commands whose work grows with what was sent before: positions from the future, paths, types."""

from benchmarks.hostile.peer import Peer, flood, message
from benchmarks.hostile.registry import Target, attack

PATHS_PER_COMMAND = 1_000


def _send_all(target: Target, peer: Peer, frames: list[bytes]) -> None:
    """Send frames as fast as the hub reads them, and drop its answers."""
    data = memoryview(b"".join(frames))
    while data and not target.over():
        if peer.discard() < 0:
            return
        sent = peer.send_some(data)
        if sent < 0:
            return
        data = data[sent:]


def _hold(target: Target, peer: Peer) -> None:
    while not target.over() and peer.discard() >= 0:
        pass


def _future(host: str, port: int) -> str:
    """Return a position of the hub's epoch that its log does not reach."""
    peer = Peer(host, port)
    epoch, _, offset = str(peer.read_until("connection:established")["data"]["position"]).partition(":")
    peer.close()
    return f"{epoch}:{int(offset) + 1_000_000_000}"


@attack("future-positions", "30,000 subscribes of one connection with a position from the future")
def subscribe_from_the_future(target: Target) -> None:
    since = _future(target.host, target.port)
    peer = Peer(target.host, target.port)
    frames = [
        message("channel:subscribe", {"channels": [f"data/{number}"], "since": since}, id=str(number))
        for number in range(target.scaled(30_000))
    ]
    _send_all(target, peer, frames)
    _hold(target, peer)


def _paths(number: int, *, prefix: str = "data/") -> list[bytes]:
    return [
        message(
            "channel:subscribe",
            {
                "channels": [f"{prefix}{path:06}" for path in range(first, min(number, first + PATHS_PER_COMMAND))],
                "since": "now",
            },
            id=str(first),
        )
        for first in range(0, number, PATHS_PER_COMMAND)
    ]


@attack("many-paths", "18,000 paths on one connection, 1,000 with each command")
def subscribe_to_many_paths(target: Target) -> None:
    peer = Peer(target.host, target.port)
    _send_all(target, peer, _paths(target.scaled(18_000)))
    _hold(target, peer)


@attack("one-path-each", "20,000 subscribes with one path each on one connection")
def subscribe_one_path_each(target: Target) -> None:
    peer = Peer(target.host, target.port)
    frames = [
        message("channel:subscribe", {"channels": [f"data/{number}"], "since": "now"}, id=str(number))
        for number in range(target.scaled(20_000))
    ]
    _send_all(target, peer, frames)
    _hold(target, peer)


@attack("unsubscribe-all", "10,000 paths subscribed to, and `*` unsubscribed from, again and again")
def unsubscribe_from_all(target: Target) -> None:
    peer = Peer(target.host, target.port)
    frames = _paths(target.scaled(10_000))
    frames.append(message("channel:unsubscribe", {"channels": ["*"]}, id="u"))
    while not target.over() and peer.discard() >= 0:
        _send_all(target, peer, frames)


@attack("unsubscribe-repeated", "`*` named 1,000 times in each unsubscribe, with 1,000 paths read")
def unsubscribe_repeatedly(target: Target) -> None:
    peer = Peer(target.host, target.port)
    frames = [*_paths(1_000), message("channel:unsubscribe", {"channels": ["*"] * 1_000}, id="u")]
    while not target.over() and peer.discard() >= 0:
        _send_all(target, peer, frames)


@attack("unknown-handles", "subscribes that handle 1,000 unknown types each")
def handle_unknown_types(target: Target) -> None:
    peer = Peer(target.host, target.port)
    handles = [f"operation:progres{number}" for number in range(1_000)]
    data = message("channel:subscribe", {"channels": ["data"], "since": "now", "handles": handles}, id="h")
    flood([peer], data, target.over)


@attack("undeclared-types", "100,000 made-up types, and snapshots of them", hub_options=("--lenient",))
def publish_undeclared_types(target: Target) -> None:
    peer = Peer(target.host, target.port)
    frames = [message(f"made:up_{number}", {"n": number}) for number in range(target.scaled(100_000))]
    _send_all(target, peer, frames)
    readers = [Peer(target.host, target.port, query="channel=global&since=snapshot") for _ in range(10)]
    while not target.over():
        for reader in readers:
            reader.discard()


@attack("claims", "producers that claim as many operations as a message holds, again and again")
def claim_operations(target: Target) -> None:
    peer = Peer(target.host, target.port)
    claims = [{"operation_id": f"op-{number}"} for number in range(1_000)]
    data = message("producer:attach", {"producer_id": "p" * 32, "operations": claims}, id="a")
    flood([peer], data, target.over)
