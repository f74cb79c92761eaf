"""Subscriptions of one connection, and what the client is sent about them: how reading begins, live, and gaps."""

from collections.abc import Callable
from functools import partial

from tidings.hub.hub import Hub
from tidings.hub.lanes import Subscriber
from tidings.hub.wire import Outlet, WireForm
from tidings.protocol.messages import Gap, Live, Subscribed
from tidings.protocol.paths import PathSet
from tidings.protocol.payloads import Payload
from tidings.protocol.positions import Position, Since

MAX_PENDING_SUBSCRIPTIONS = 100
"""Subscriptions of one connection that are not live yet, beyond which the hub stops reading from it. One with a
position from the future is pending for `HubConfig.future_wait_s`."""


class SubscriptionReports:
    """Subscribes one connection, and reports each subscription to its client.

    Args:
        hub: The hub.
        outlet: Writes to the client.
        form: Wire form of events.
        versioned: Whether the client receives `channel:subscribed` and `channel:live`.
        push: Sends a message to the client.
        on_pending: Called when the number of pending subscriptions has reached its limit or fallen.
    """

    __slots__ = ("_hub", "_on_pending", "_push", "_versioned", "pending", "subscriber")

    def __init__(
        self,
        hub: Hub,
        outlet: Outlet,
        form: WireForm,
        *,
        versioned: bool,
        push: Callable[[Payload], None],
        on_pending: Callable[[], None],
    ) -> None:
        self._hub = hub
        self._versioned = versioned
        self._push = push
        self._on_pending = on_pending
        self.subscriber = Subscriber(outlet, form, on_gap=self._report_gap)
        self.pending = 0
        """Subscriptions that are not live yet."""

    def subscribe(self, paths: PathSet, since: Since, reply: Callable[[Payload], None]) -> None:
        """Add `paths` to those that the connection reads; `reply` sends how reading begins."""
        self._hub.delivery.subscribe(
            self.subscriber,
            paths,
            since,
            on_subscribed=partial(self._report_subscribed, reply) if self._versioned else _ignore_outcome,
            on_live=self._report_live,
        )
        self.pending += 1
        if self.pending >= MAX_PENDING_SUBSCRIPTIONS:
            self._on_pending()

    def _report_subscribed(self, reply: Callable[[Payload], None], outcome: str, offset: int) -> None:
        position = str(self._hub.log.position(offset))
        reply(Subscribed(channels=self.subscriber.paths.names(), position=position, outcome=outcome))

    def _report_live(self, offset: int) -> None:
        self.pending -= 1
        self._on_pending()
        if self._versioned:
            position = str(self._hub.log.position(offset))
            self._push(Live(channels=self.subscriber.paths.names(), position=position))

    def _report_gap(self, after: Position, until: Position, reason: str) -> None:
        self._hub.delivery.counters.gaps += 1
        self._push(Gap(after=str(after), until=str(until), reason=reason))


def _ignore_outcome(outcome: str, offset: int) -> None:
    """Do nothing: a plain connection does not receive `channel:subscribed`."""
