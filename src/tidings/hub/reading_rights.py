"""The effect of grants on one subscriber: its wire form, and the paths that it keeps when its grants change."""

from tidings.access.grants import Grants
from tidings.hub.delivery import Delivery
from tidings.hub.lanes import Subscriber
from tidings.hub.wire import WireForm, conceal_form
from tidings.protocol.paths import PathSet


def form_for(form: WireForm, grants: Grants | None) -> WireForm:
    """Return the wire form of events for a reader; `grants` are None where the hub does not identify its clients."""
    return form if grants is None or grants.details else conceal_form(form)


def apply_grants(
    delivery: Delivery, subscriber: Subscriber, grants: Grants, form: WireForm, *, everything: bool
) -> list[str]:
    """Stop a subscriber from reading what its new grants do not cover; it misses and repeats no other event.

    Args:
        delivery: The subscribers of the hub.
        subscriber: The subscriber.
        grants: Its new grants.
        form: Its wire form with details.
        everything: Whether it reads `*`, and goes on with those parts of its paths that are covered.

    Returns:
        The paths that it no longer reads, or only in part.
    """
    held = subscriber.paths
    lost = grants.uncovered(held)
    if not everything:  # a path of which only a part may be read is lost as a whole, as it would be refused
        held = held.without(lost)
    delivery.restrict(subscriber, held & grants.read, grants.read, form_for(form, grants))
    return lost.names()


def added_paths(subscriber: Subscriber, grants: Grants) -> PathSet:
    """Return the paths that a subscriber may read and does not read."""
    return PathSet(tuple(path for path in grants.read.paths if not subscriber.paths.covers(path)))
