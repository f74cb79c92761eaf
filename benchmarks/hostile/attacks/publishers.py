"""Publishers that keep every window full."""

from benchmarks.hostile.peer import Peer
from benchmarks.hostile.registry import Target, attack
from benchmarks.hostile.windows import publish_windows


@attack("greedy-publishers", "100 publishers that keep 1,000 unacknowledged events in flight each")
def publish_greedily(target: Target) -> None:
    publish_windows([Peer(target.host, target.port) for _ in range(target.scaled(100))], target.over)
