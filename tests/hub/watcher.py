"""A client that checks the guarantees of PROTOCOL.md on every message, over any number of connections."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tidings.log.base import Record
from tidings.protocol.message_types import ChannelType, EventClass
from tidings.protocol.paths import PathSet, parse_paths
from tidings.protocol.positions import parse_position
from tidings.testing.in_memory_hub import InMemoryClient, InMemoryHub, Message

CHANNELS = tuple(ChannelType)
REFUSALS = ("log_unavailable", "event_id_reused", "operation_finished")


class Group:
    """Paths of one subscription, and how far the client has read them."""

    def __init__(self, paths: PathSet, since: str | None) -> None:
        self.paths = paths
        self.since = since
        """Value of `since` while `position` is None."""
        self.earlier: list[Group] = []
        """Groups whose events do not belong to this one."""
        self.position: int | None = None
        """All of its own events up to here were received; None before the first known position."""
        self.base = 0
        """All events after this offset must be received."""
        self.snapshot_to = 0
        """Offset up to which the current snapshot goes."""
        self.has_state = False
        """Whether it began with a snapshot: then the newest event of each key must be received, wherever it is."""
        self.got: list[int] = []

    def __repr__(self) -> str:
        return f"{self.paths.names()} since {self.since}, due from {self.base} on, read to {self.position}: {self.got}"

    def owns(self, record: Record) -> bool:
        event = record.event
        return self.paths.matches(event.channel, event.key) and not any(
            group.paths.matches(event.channel, event.key) for group in self.earlier
        )


class Watcher:
    """One client of a hub.

    Args:
        hub: The hub.
        records: All events of the log, by offset and in order.
        pace_ms: The pace that it requests.
        repeated: Numbers of events that were sent again, for all clients of the hub: the copy may be stored first.
    """

    def __init__(self, hub: InMemoryHub, records: Mapping[int, Record], pace_ms: int, repeated: set[str]) -> None:
        self._hub = hub
        self._repeated = repeated
        self._records = records
        self._pace_ms = pace_ms
        self.client: InMemoryClient | None = None
        self.groups: list[Group] = []
        """Subscribed groups, in the order in which the hub confirmed them."""
        self.gaps: list[tuple[int, int]] = []
        self.accepted: dict[str, int] = {}
        """Offsets of the events that it published, by number."""
        self.refused: set[str] = set()
        self._subscribing: dict[str, Group] = {}
        self._not_live: list[Group] = []
        self._unsubscribing: dict[str, bool] = {}
        """Unanswered commands, and whether another one was unanswered before: it may have removed or covered the same
        paths."""
        self._published: dict[str, str] = {}
        """Numbers of the unanswered events of this connection, by command id."""
        self._last = 0
        self._ids = 0

    # Actions.

    def connect(self) -> None:
        """Connect and subscribe to all groups again, each from where it was read to."""
        assert self.client is None
        self.client = self._hub.connect(f"channels=none&pace_ms={self._pace_ms}")
        groups, self.groups = self.groups, []
        for group in groups:
            if group.paths:
                self._subscribe(group)

    def subscribe(self, channels: list[str], since: str | None) -> None:
        self._subscribe(Group(parse_paths(channels, CHANNELS), since))

    def _subscribe(self, group: Group) -> None:
        assert self.client is not None
        data: Message = {"channels": group.paths.names()}
        since = group.since if group.position is None else str(self._hub.log.position(group.position))
        if since is not None:
            data["since"] = since
        id = self._next_id("subscribe")
        self._subscribing[id] = group
        self.client.send("channel:subscribe", data, id=id)

    def unsubscribe(self, names: list[str]) -> None:
        assert self.client is not None
        id = self._next_id("unsubscribe")
        self._unsubscribing[id] = bool(self._unsubscribing or self._subscribing)
        self.client.send("channel:unsubscribe", {"channels": names}, id=id)

    def publish(self, type: str, data: Message, number: str, *, again: bool = False, **fields: Any) -> None:
        """Publish an event with `number` as its `message`; `again` repeats an earlier one."""
        assert self.client is not None
        id = self._next_id("again" if again else "first")
        self._published[id] = number
        if again:
            self._repeated.add(number)
        self.client.send(type, data | {"message": number}, id=id, **fields)

    def drop(self) -> None:
        """Lose the connection after reading all received bytes."""
        assert self.client is not None
        self.read()
        self.client.drop()
        self.client = None
        self.groups.extend(self._subscribing.values())
        for group in self._not_live:
            if group.snapshot_to and group.position is not None:  # from here on it counts as read after the resume
                group.base = group.position
                group.snapshot_to = 0
        self._subscribing.clear()
        self._not_live.clear()
        self._unsubscribing.clear()
        self._published.clear()
        self._last = 0

    def _next_id(self, what: str) -> str:
        self._ids += 1
        return f"{what}-{self._ids}"

    # Reading and checking.

    def read(self) -> None:
        if self.client is not None:
            for message in self.client.read():
                self._read_one(message)

    def _read_one(self, message: Message) -> None:
        type = message["type"]
        data = message["data"]
        if "channel" in message:
            self._event(message)
        elif type == "channel:subscribed":
            self._subscribed(self._subscribing.pop(message["reply_to"]), data)
        elif type == "channel:live":
            group = self._not_live.pop(0)
            group.snapshot_to = 0
            group.position = max(group.position or 0, offset_of(data["position"]))
        elif type == "channel:unsubscribed":
            self._unsubscribed(message)
        elif type == "channel:gap":
            self.gaps.append((offset_of(data["after"]), offset_of(data["until"])))
        elif type == "connection:position":
            self._all_read_to(offset_of(data["position"]))
        elif type == "event:accepted":
            number = self._published.pop(message["reply_to"])
            self.accepted[number] = offset_of(data["position"])
        elif type == "connection:error" and message["reply_to"] in self._unsubscribing:
            assert data["code"] == "invalid_path", message
            assert self._unsubscribing.pop(message["reply_to"]), message
        elif type == "connection:error":
            assert data["code"] in REFUSALS, message
            self.refused.add(self._published.pop(message["reply_to"]))
        else:
            assert type == "connection:established", message

    def _subscribed(self, group: Group, data: Message) -> None:
        group.earlier = list(self.groups)
        self.groups.append(group)
        self._not_live.append(group)
        position = offset_of(data["position"])
        outcome = data["outcome"]
        if group.position is not None:
            assert outcome in ("complete", "gap", "live"), "a resumption"
            assert position == group.position or outcome == "live"
            return
        group.base = position
        future = group.since is not None and ":" in group.since and offset_of(group.since) > position
        group.has_state = outcome == "snapshot" or (outcome == "gap" and future)
        if group.has_state:
            group.snapshot_to = position
        else:
            assert outcome == "live" or group.since in ("first", "", str(self._hub.log.position(position)))
            group.position = position

    def _unsubscribed(self, message: Message) -> None:
        del self._unsubscribing[message["reply_to"]]
        left = parse_paths(message["data"]["channels"], CHANNELS)
        for group in self.groups:
            group.paths = PathSet(tuple(path for path in group.paths.paths if left.covers(path)))

    def _event(self, message: Message) -> None:
        offset = offset_of(message["position"])
        record = self._records[offset]
        assert message["data"] == msgspec.json.decode(record.event.data)
        owners = [group for group in self.groups if group.owns(record)]
        assert len(owners) == 1, f"{message} is on no path of this connection"
        group = owners[0]
        assert not group.got or group.got[-1] < offset, f"{message} came twice or late"
        if offset <= group.snapshot_to:
            assert not self._superseded(record, group.snapshot_to), f"{message} was superseded before the snapshot"
        else:
            assert offset > group.base, f"{message} was not requested"
        awaited = set(self._published.values()) - self._repeated
        assert message["data"]["message"] not in awaited, f"{message} came before event:accepted"
        group.got.append(offset)
        group.position = offset
        if not self._not_live:
            assert offset > self._last
            self._last = offset
            self._all_read_to(offset)

    def _superseded(self, record: Record, until: int) -> bool:
        event = record.event
        return any(
            record.offset < other.offset <= until
            and (event.channel, event.type, event.key) == (other.event.channel, other.event.type, other.event.key)
            for other in self._records.values()
        )

    def _all_read_to(self, offset: int) -> None:
        assert not any(group.paths for group in self._not_live)
        for group in self.groups:
            group.position = max(group.position or 0, offset)

    # Final checks.

    def check(self, held: set[int], newest: set[int]) -> None:
        """Check that no event is missing; the log has the offsets `held`, and those in `newest` are the newest of their
        keys."""
        assert not self._subscribing, "channel:subscribed is missing"
        assert not self._unsubscribing, "channel:unsubscribed is missing"
        assert not self._not_live, "channel:live is missing"
        assert not self._published, "a publisher was not answered"
        for group in self.groups:
            got = set(group.got)
            for record in self._records.values():
                durable = record.event.event_class is EventClass.DURABLE
                if durable and record.offset > group.base and record.offset not in got and group.owns(record):
                    self._check_missing(record, held)
            for offset in newest:
                if (offset > group.base or group.has_state) and group.owns(self._records[offset]):
                    assert offset in got, (
                        f"{self._records[offset]} is the newest of its key and was not delivered; {group}"
                    )

    def _check_missing(self, record: Record, held: set[int]) -> None:
        reported = any(after < record.offset <= until for after, until in self.gaps)
        assert record.offset not in held, f"{record} is in the log and was not delivered; gaps {self.gaps}"
        assert reported, f"{record} was trimmed without a gap; gaps {self.gaps}"


def offset_of(position: str) -> int:
    return parse_position(position).offset
