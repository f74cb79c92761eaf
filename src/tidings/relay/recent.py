"""The event ids that were published lately: what is sent again after a reconnect need not go to the hub again."""

from collections import OrderedDict

_MOST = 65_536
"""Ids, some 10 MB: more than services keep to send again. Whatever is older, the hub knows."""


class Recent:
    """A bounded set that forgets its oldest.

    Args:
        most: How many it holds.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, event_id: str) -> None:
        """Remember an id."""
        self._ids[event_id] = None
        self._ids.move_to_end(event_id)
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)
