"""The use of limits by subjects and addresses, at all processes of a hub (docs/scale.md, "Limits of all processes").

Each process sends the others what its senders use, gathered over half a second, and only of those that use much. So a
limit holds for all processes together within a second, and no connection and no event costs a message.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from tidings.access.quotas import Quota
from tidings.hub.hub import Hub
from tidings.hub.inbound_rates import RateKind
from tidings.server.cluster.notes import NoteExchange

SEND_S: Final = 0.5
"""Interval at which changes are sent, in seconds."""
_REPEAT_S: Final = 1.0
"""Time after which a process that has something to count sends a note without changes: it is alive."""
MAX_SILENCE_S: Final = 5.0
"""Silence of a process after which its connections no longer count, in seconds: it has ended."""
_MAX_ECHO_S: Final = 3.0
"""Time between two own notes above which the others may have been silent because no note arrives."""
MAX_NOTE_BYTES: Final = 48 << 10
"""Size of a note, beyond which the rest is sent with the next ones: 75 % of the largest note that fits an entry."""
MAX_COUNTED: Final = 100_000
"""Senders that are counted for one other process: twice as many as it has connections by default."""
_MAX_UNDER_WAY: Final = 4
"""Own notes that did not come back, above which no other one is sent for a time: they would only wait."""
_UNCOUNTED: Final = 10
"""A process sends how many connections a sender has if that is more than a part of the limit, such that all others
together never have more than a tenth of it unnoticed."""
_ABOUT: Final = "use"

_Place = tuple[str, str]
"""Name of a quota, or of a rate, and a sender."""


class _Note(Struct, frozen=True, array_like=True):
    """The changes at one process since its last note."""

    source: str
    number: int
    """Counts the notes of the process, from 1."""
    asks: bool
    """Whether the others send all that counts at them."""
    counts: list[tuple[str, str, int]]
    """Name of a quota, a user of it, and how many it has."""
    taken: list[tuple[RateKind, str, float]]
    """Kind, sender, and the tokens that it took."""


_decode = msgspec.json.Decoder(_Note).decode
_encode = msgspec.json.encode


class _Source(Struct):
    """Another process."""

    number: int
    heard_at: float
    counts: dict[_Place, int] = {}


class SharedUse:
    """Counts what senders use at the other processes, and sends these what they use here.

    Args:
        notes: The notes between the processes.
        hub: The hub, whose rates are shared.
        quotas: The shared limits of connections, by their names.
        processes: Returns the number of processes, this one included.
    """

    def __init__(
        self, notes: NoteExchange, hub: Hub, quotas: Mapping[str, Quota], processes: Callable[[], int]
    ) -> None:
        self._notes = notes
        self._hub = hub
        self._quotas = {name: quota for name, quota in quotas.items() if quota.limit}
        self._elsewhere = {name: Counter[str]() for name in self._quotas}
        for name, quota in self._quotas.items():
            quota.used_elsewhere = self._elsewhere[name]
        self._processes = processes
        self._sources: dict[str, _Source] = {}
        self._sent: dict[_Place, int] = {}
        """The numbers that the others have."""
        self._changed: dict[_Place, None] = {}
        """The numbers that the others do not have yet."""
        self._taken: dict[tuple[RateKind, str], float] = {}
        """Tokens that were not sent yet."""
        self._number = self._echoed = 0
        """The numbers of the newest own note, and of the newest that came back."""
        self._others = 0
        self._was_asked = False
        self._sent_at = self._echoed_at = self._heard_since = 0.0
        self._asks = False
        notes.receivers[_ABOUT] = self._receive

    def start(self) -> None:
        """Begin to send, if there are limits that are shared."""
        if self._quotas or self._hub.rates.are_shared:
            self._hub.jobs.start("limits of all processes", SEND_S, self._send)

    # Sending.

    def _send(self) -> None:
        now = self._hub.clock.monotonic()
        is_away = self._number - self._echoed >= _MAX_UNDER_WAY and now - self._sent_at < MAX_SILENCE_S
        others = self._processes() - 1
        if is_away or others < 1:
            self._drop_changes()
            return
        self._note_changes(others)
        counts_others = any(source.counts for source in self._sources.values())
        is_due = (self._sent or counts_others) and now - self._sent_at >= _REPEAT_S
        if not (self._changed or self._taken or self._asks or is_due):
            return
        self._number += 1
        counts, taken = self._take_fitting()
        note = _Note(self._notes.source, self._number, self._asks, counts, taken)
        self._asks, self._sent_at = False, now
        self._notes.tell(_ABOUT, _encode(note))

    def _drop_changes(self) -> None:
        """Drop what no one receives: tokens that were taken long ago must not count when the others are there again."""
        for quota in self._quotas.values():
            quota.take_changed()
        for _ in self._hub.rates.report_taken(1):
            pass
        self._taken.clear()
        self._others = 0

    def _note_changes(self, others: int) -> None:
        everyone = self._was_asked or others != self._others  # more of them count with more processes
        self._others, self._was_asked = others, False
        if everyone:
            self._changed |= dict.fromkeys(self._sent)
        for name, quota in self._quotas.items():
            least = max(1, quota.limit // (_UNCOUNTED * others))
            for user in quota.take_changed(everyone=everyone):
                if quota.used(user) >= least or (name, user) in self._sent:
                    self._changed[name, user] = None
        for kind, sender, tokens in self._hub.rates.report_taken(others):
            self._taken[kind, sender] = self._taken.get((kind, sender), 0.0) + tokens

    def _take_fitting(self) -> tuple[list[tuple[str, str, int]], list[tuple[RateKind, str, float]]]:
        counts: list[tuple[str, str, int]] = []
        taken: list[tuple[RateKind, str, float]] = []
        size = 0
        for name, user in list(self._changed):
            count = name, user, self._quotas[name].used(user)
            size += len(_encode(count))
            if size > MAX_NOTE_BYTES:
                return counts, taken
            del self._changed[name, user]
            if count[2]:
                self._sent[name, user] = count[2]
            else:
                self._sent.pop((name, user), None)
            counts.append(count)
        for kind, sender in list(self._taken):
            use = kind, sender, round(self._taken[kind, sender], 3)
            size += len(_encode(use))
            if size > MAX_NOTE_BYTES:
                break
            del self._taken[kind, sender]
            taken.append(use)
        return counts, taken

    # Receiving.

    def _receive(self, number: int, body: bytes) -> None:
        note = _decode(body)
        now = self._hub.clock.monotonic()
        if note.source == self._notes.source:
            self._echoed = note.number
            self._forget_silent(now)
            return
        source = self._sources.get(note.source)
        if source is None or note.number != source.number + 1:
            # It has started again, or notes were lost, or this process is new.
            self._forget(note.source)
            self._asks = self._asks or note.number != 1
            source = self._sources[note.source] = _Source(note.number, now)
        source.number, source.heard_at = note.number, now
        self._was_asked = self._was_asked or note.asks
        for name, user, count in note.counts:
            if name in self._quotas:
                self._count(source, name, user, max(0, count))
        for kind, sender, tokens in note.taken:
            self._hub.rates.debit(kind, sender, max(0.0, tokens))

    def _count(self, source: _Source, name: str, user: str, count: int) -> None:
        place, elsewhere = (name, user), self._elsewhere[name]
        if len(source.counts) >= MAX_COUNTED and place not in source.counts:
            return
        elsewhere[user] += count - source.counts.pop(place, 0)
        if count:
            source.counts[place] = count
        if elsewhere[user] <= 0:
            del elsewhere[user]

    def _forget_silent(self, now: float) -> None:
        """Forget the processes that were silent while own notes arrived: while none does, no one is known to be."""
        if now - self._echoed_at > _MAX_ECHO_S:
            self._heard_since = now
        self._echoed_at = now
        for name, source in list(self._sources.items()):
            if source.counts and now - max(source.heard_at, self._heard_since) > MAX_SILENCE_S:
                self._forget(name)

    def _forget(self, name: str) -> None:
        source = self._sources.pop(name, None)
        if source is not None:
            for quota, user in list(source.counts):
                self._count(source, quota, user, 0)
