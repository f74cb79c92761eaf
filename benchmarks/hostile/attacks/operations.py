"""Operations in large numbers: children of one parent, requests to cancel, and producers that are lost together."""

from itertools import count

from benchmarks.hostile.peer import Peer, message
from benchmarks.hostile.registry import Target, attack


def _send_all(target: Target, peer: Peer, frames: list[bytes]) -> None:
    data = memoryview(b"".join(frames))
    while data and not target.over():
        peer.discard()
        sent = peer.send_some(data)
        if sent < 0:
            return
        data = data[sent:]


def _start(operation_id: str, **data: str) -> bytes:
    return message("operation:start", {"operation_id": operation_id, **data})


@attack("cancel-children", "a parent with 60,000 children is cancelled, again and again")
def cancel_parent(target: Target) -> None:
    holder, requester = Peer(target.host, target.port), Peer(target.host, target.port)
    holder.send(message("producer:attach", {"producer_id": "parent"}, id="a"))
    children = [_start(f"child-{number}", parent_id="parent") for number in range(target.scaled(60_000))]
    _send_all(target, holder, [_start("parent"), *children])
    ids = count()
    while not target.over() and requester.discard() >= 0:
        holder.discard()
        frames = [
            message("operation:cancel", {"operation_id": "parent", "timeout_s": 0}, id=f"c{next(ids)}")
            for _ in range(100)
        ]
        _send_all(target, requester, frames)


@attack("cancel-waiters", "30,000 requests to cancel one operation, which all wait")
def wait_for_outcomes(target: Target) -> None:
    holder = Peer(target.host, target.port)
    holder.send(message("producer:attach", {"producer_id": "deaf"}, id="a") + _start("deaf"))
    children = [_start(f"deaf-{number}", parent_id="deaf") for number in range(target.scaled(500))]
    _send_all(target, holder, children)
    peers = [Peer(target.host, target.port) for _ in range(target.scaled(300))]
    timeout_s = target.seconds / 2
    for peer in peers:
        frames = [
            message("operation:cancel", {"operation_id": "deaf", "timeout_s": timeout_s}, id=f"c{number}")
            for number in range(target.scaled(100))
        ]
        _send_all(target, peer, frames)
    while not target.over():
        for peer in (holder, *peers):
            peer.discard()


@attack("lost-producers", "10,000 producers with a lease of one second are lost together")
def lose_producers(target: Target) -> None:
    numbers = count()
    for _ in range(target.scaled(20)):
        peers = []
        for _ in range(500):
            if target.over():
                return
            number = next(numbers)
            peer = Peer(target.host, target.port)
            attach = message("producer:attach", {"producer_id": f"lost-{number}", "lease_s": 1}, id="a")
            peer.send(attach + _start(f"lost-{number}"))
            peers.append(peer)
        for peer in peers:
            peer.discard()
            peer.close()


@attack("lost-operations", "one producer with 10,000 operations is lost and comes back, again and again")
def lose_operations(target: Target) -> None:
    operations = target.scaled(10_000)
    for generation in count():
        if target.over():
            return
        peer = Peer(target.host, target.port)
        peer.send(message("producer:attach", {"producer_id": "flapping", "lease_s": 1}, id="a"))
        _send_all(target, peer, [_start(f"flap-{generation}-{number}") for number in range(operations)])
        peer.discard()
        peer.close()
