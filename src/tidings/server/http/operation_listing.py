"""Pages of operations and of their names, made in slices between which other requests have their turn."""

import asyncio
import base64
from collections.abc import Callable, Sequence
from typing import Annotated, Final, NamedTuple

import msgspec

from tidings.access.subjects import Subject
from tidings.exceptions import InvalidParameter
from tidings.hub.hub import Hub
from tidings.operations.lifecycle import OperationState
from tidings.operations.run_history import MAX_NAMES, RunHistory
from tidings.operations.status import OperationStatus
from tidings.operations.views import TotalsView
from tidings.server.http.operation_views import OperationViewBuilder
from tidings.server.http.operations_query import AWAY, CURSOR_HINT, STALLED, OperationQuery, matches_name

_MAX_PER_TURN: Final = 200
"""Operations examined before other requests have their turn: a millisecond, or a few if all of them are shown."""
_BUDGET_S: Final = 0.25
"""Seconds in which one request may skip operations that do not match, before it answers with where to continue."""
_MAX_BYTES: Final = 4 << 20
"""Size of one answer; the operation that crosses it is still included."""
_MAX_UNSORTED: Final = 500
"""Operations beyond two pages that wait to be sorted: sorting a few thousand takes a millisecond."""
_MAX_KEY_CHARS: Final = 64
"""Characters by which names are sorted: they are a part of cursors."""

_encode = msgspec.json.Encoder().encode


class _Key(NamedTuple):
    """Place of an operation in the order of a query; in a descending order, the greatest key comes first."""

    rank: bool
    """Sorts the operations without a value behind all others."""
    value: float | str
    number: int
    """Number of the operation; negative in an ascending order, so that the newest of equal ones comes first."""


_Moment = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_decode_cursor = msgspec.json.Decoder(tuple[str, bool, tuple[bool, float | str, int], _Moment]).decode
"""Decodes `sort`, whether the order is descending, the key of the last operation of the page before, and `now_ns`."""


async def list_operations(hub: Hub, query: OperationQuery, turns: asyncio.Semaphore, subject: Subject | None) -> bytes:
    """Return one page of operations, as JSON.

    Raises:
        InvalidParameter: The cursor is not one of such a query.
    """
    views = OperationViewBuilder(hub, subject)
    exact = None if query.find is None else hub.operations.get(query.find)
    if exact is not None and views.may_read(exact.operation_id):
        found = [exact] if query.matches(exact, _conditions(hub, exact)) and query.after is None else []
        totals = TotalsView()
        if query.totals and query.matches_rest(exact):
            totals = _count(totals, exact, _conditions(hub, exact), is_match=bool(found))
        shown = [_encode(views.summary(each)) for each in found]
        part = _Part(_position(hub), shown, None, totals if query.totals else None)
    elif query.is_plain:
        part = await _list_plain(hub, query, turns, views)
    else:
        part = await _Scan(hub, query, views).page(turns)
    after = b"" if part.following is None else b',"next":"%b"' % part.following.encode()
    counts = b"" if part.totals is None else b',"totals":%b' % _encode(part.totals)
    return b'{"operations":[%b],"position":"%b"%b%b}' % (b",".join(part.summaries), part.position, after, counts)


class _Part(NamedTuple):
    """The contents of one answer."""

    position: bytes
    """Position of the log in the first turn: events that are stored in later ones follow it."""
    summaries: Sequence[bytes]
    following: str | None
    """Cursor of the next page, if there may be one."""
    totals: TotalsView | None


async def _list_plain(hub: Hub, query: OperationQuery, turns: asyncio.Semaphore, views: OperationViewBuilder) -> _Part:
    """Return one page in the order of the numbers."""
    deadline = hub.clock.monotonic() + _BUDGET_S
    summaries: list[bytes] = []
    size, number = 0, None if query.after is None else int(query.after)
    position: bytes | None = None
    while True:
        async with turns:
            position = position or _position(hub)
            for status in map(hub.at_present, hub.operations.before(number, _MAX_PER_TURN)):
                number = status.number
                conditions = _conditions(hub, status) if query.states else ()
                if not (query.matches(status, conditions) and views.may_read(status.operation_id)):
                    continue
                summary = _encode(views.summary(status))
                summaries.append(summary)
                size += len(summary)
                if len(summaries) >= query.limit or size >= _MAX_BYTES or views.examined >= _MAX_PER_TURN:
                    break
            await asyncio.sleep(0)
        views.examined = 0
        more = bool(hub.operations.before(number, 1))
        is_full = len(summaries) >= query.limit or size >= _MAX_BYTES
        if not more or is_full or hub.clock.monotonic() >= deadline:
            return _Part(position, summaries, str(number) if more else None, None)


def _position(hub: Hub) -> bytes:
    return str(hub.log.position(hub.log.head)).encode()


def _conditions(hub: Hub, status: OperationStatus) -> frozenset[str]:
    """Return which of `STALLED` and `AWAY` hold for an operation."""
    if status.state is not OperationState.RUNNING:
        return frozenset()
    found = []
    estimate = hub.estimates.get(status.operation_id)
    if estimate is not None and estimate.stalled:
        found.append(STALLED)
    if hub.leases.presence(status.operation_id) == "away":
        found.append(AWAY)
    return frozenset(found)


def _count(totals: TotalsView, status: OperationStatus, conditions: frozenset[str], *, is_match: bool) -> TotalsView:
    """Return totals with one operation more."""
    counted = {name: getattr(totals, name) + 1 for name in (status.state, *conditions)}
    return msgspec.structs.replace(totals, matching=totals.matching + is_match, **counted)


class _Scan:
    """Examines all operations for one page: those that match are counted, and the first of them in order are kept.

    Args:
        hub: The hub.
        query: The query.
        views: Builds the views for the reader.
    """

    def __init__(self, hub: Hub, query: OperationQuery, views: OperationViewBuilder) -> None:
        self._hub = hub
        self._query = query
        self._views = views
        self._now_ns = hub.now_ns()
        """Time of the first page: durations that grew from page to page would pass the cursor, again and again."""
        self._value = _VALUES[query.sort]
        self._after = None if query.after is None else self._read_cursor(query.after)
        self._names: set[str] = set()
        """Names of which a run was met."""
        self._recovered: set[str] = set()
        """Names of which a run was met that is complete."""
        self._best: list[tuple[_Key, OperationStatus]] = []
        """The first operations in order so far, and some that may follow them."""
        self._worst: _Key | None = None
        """Key of the first operation beyond the page so far; only those before it matter."""
        self._counts = dict.fromkeys(msgspec.structs.asdict(TotalsView()), 0)

    async def page(self, turns: asyncio.Semaphore) -> _Part:
        """Return the page."""
        number: int | None = None
        position: bytes | None = None
        while True:
            async with turns:
                position = position or _position(self._hub)
                statuses = list(map(self._hub.at_present, self._hub.operations.before(number, _MAX_PER_TURN)))
                self._keep([entry for status in statuses if (entry := self._examine(status)) is not None])
                await asyncio.sleep(0)
            if not statuses:
                break
            number = statuses[-1].number
        self._select()
        summaries: list[bytes] = []
        size = shown = 0
        while shown < min(len(self._best), self._query.limit) and size < _MAX_BYTES:
            async with turns:
                self._views.examined = 0
                while shown < min(len(self._best), self._query.limit) and size < _MAX_BYTES:
                    summaries.append(_encode(self._views.summary(self._best[shown][1])))
                    size += len(summaries[-1])
                    shown += 1
                    if self._views.examined >= _MAX_PER_TURN:
                        break
                await asyncio.sleep(0)
        following = self._write_cursor(self._best[shown - 1][0]) if shown < len(self._best) else None
        return _Part(position, summaries, following, TotalsView(**self._counts) if self._query.totals else None)

    def _examine(self, status: OperationStatus) -> tuple[_Key, OperationStatus] | None:
        """Count an operation; return it with its key if it belongs to this page or a later one."""
        query = self._query
        if not self._views.may_read(status.operation_id):
            return None
        conditions = _conditions(self._hub, status)
        is_newest = not status.name or status.name not in self._names
        has_recovered = status.name in self._recovered
        self._names.add(status.name)
        if status.name and status.state is OperationState.COMPLETE:
            self._recovered.add(status.name)
        if query.newest and not is_newest:
            return None
        if query.attention and not conditions and (status.state is not OperationState.FAILED or has_recovered):
            return None
        if not query.matches_rest(status):
            return None
        for name in (status.state, *conditions):
            self._counts[name] += 1
        if not query.matches_state(status, conditions):
            return None
        self._counts["matching"] += 1
        key = self._key(status)
        after = self._after
        is_later = after is None or (key < after if query.descending else key > after)
        return (key, status) if is_later else None

    def _keep(self, entries: list[tuple[_Key, OperationStatus]]) -> None:
        """Keep entries that may be on the page; they are sorted once there are many."""
        worst, descending = self._worst, self._query.descending
        if worst is not None:
            entries = [entry for entry in entries if (entry[0] > worst if descending else entry[0] < worst)]
        self._best += entries
        if len(self._best) > 2 * self._query.limit + _MAX_UNSORTED:
            self._select()

    def _select(self) -> None:
        """Sort the entries, and drop those beyond the page."""
        self._best.sort(key=lambda entry: entry[0], reverse=self._query.descending)
        # One more operation than the page shows: then there is another page.
        del self._best[self._query.limit + 1 :]
        if len(self._best) > self._query.limit:
            self._worst = self._best[-1][0]

    def _key(self, status: OperationStatus) -> _Key:
        """Return the place of an operation: those without a value come last, and of equal ones the newest first."""
        value = self._value(self._hub, status, self._now_ns)
        descending = self._query.descending
        is_unknown = value is None
        number = status.number if descending else -status.number
        return _Key(is_unknown != descending, 0.0 if value is None else value, number)

    def _write_cursor(self, key: _Key) -> str:
        if not self._query.is_sorted:
            return str(key.number)
        cursor = _encode((self._query.sort, self._query.descending, key, self._now_ns))
        return base64.urlsafe_b64encode(cursor).rstrip(b"=").decode()

    def _read_cursor(self, cursor: str) -> _Key:
        if not self._query.is_sorted:
            number = int(cursor)
            return _Key(True, float(number), number)
        try:
            padded = cursor.encode() + b"=" * (-len(cursor) % 4)
            sort, descending, key, now_ns = _decode_cursor(base64.urlsafe_b64decode(padded))
        except ValueError as cause:  # those of msgspec and base64 are
            raise InvalidParameter(f"invalid cursor after={cursor[:40]!r}", hint=CURSOR_HINT) from cause
        if (sort, descending) != (self._query.sort, self._query.descending):
            raise InvalidParameter(f"the cursor after={cursor[:40]!r} is from another order", hint=CURSOR_HINT)
        # Only a known name is a text: it is compared with others, and a number with numbers.
        if isinstance(key[1], str) != (sort == "name" and key[0] == descending):
            raise InvalidParameter(f"invalid cursor after={cursor[:40]!r}", hint=CURSOR_HINT)
        self._now_ns = now_ns
        return _Key(*key)


_Value = Callable[[Hub, OperationStatus, int], float | str | None]


def _number(hub: Hub, status: OperationStatus, now_ns: int) -> float:
    return float(status.number)


def _ended(hub: Hub, status: OperationStatus, now_ns: int) -> float | None:
    return None if status.live or status.ended_ns is None else float(status.ended_ns + status.clock_lag_ns)


def _heard(hub: Hub, status: OperationStatus, now_ns: int) -> float:
    # By the time of the first page: otherwise, an operation that reports again and again is on every page.
    return float(min(status.heard_ns, now_ns))


def _name(hub: Hub, status: OperationStatus, now_ns: int) -> str | None:
    return status.name.casefold()[:_MAX_KEY_CHARS] or None


def _duration(hub: Hub, status: OperationStatus, now_ns: int) -> float | None:
    if not status.live or status.began_ns is None:
        return status.duration_s
    return max(0, now_ns - status.began_ns) / 1e9


def _progress(hub: Hub, status: OperationStatus, now_ns: int) -> float | None:
    return status.progress


def _remaining(hub: Hub, status: OperationStatus, now_ns: int) -> float | None:
    estimate = hub.estimates.get(status.operation_id) if status.live else None
    return None if estimate is None or estimate.stalled else estimate.remaining_s


_VALUES: Final[dict[str, _Value]] = {
    "started": _number,
    "ended": _ended,
    "heard": _heard,
    "name": _name,
    "duration": _duration,
    "progress": _progress,
    "remaining": _remaining,
}


async def list_names(
    hub: Hub, values: dict[str, list[str]], turns: asyncio.Semaphore, subject: Subject | None
) -> bytes:
    """Return the names of operations that match a query, with figures about their runs, as JSON."""
    views = OperationViewBuilder(hub, subject)
    live = await _count_live(hub, views, turns)
    known = dict(hub.operations.names) if views.reads_all else await _readable_names(hub, views, turns)
    histories = [history for name, history in known.items() if matches_name(values, name)]
    new = [RunHistory(name=name) for name in live if name not in known and matches_name(values, name)]
    histories += new[-MAX_NAMES:]
    names = []
    while histories:
        async with turns:
            views.examined = 0
            while histories and views.examined < _MAX_PER_TURN:
                history = histories.pop()
                names.append(_encode(views.name(history, live.get(history.name, {}))))
                views.examined += 1
            await asyncio.sleep(0)
    return b'{"names":[%b]}' % b",".join(names)


async def _count_live(
    hub: Hub, views: OperationViewBuilder, turns: asyncio.Semaphore
) -> dict[str, dict[OperationState, int]]:
    """Return the number of live operations that may be read, by name and state; those without a name are left out."""
    counts: dict[str, dict[OperationState, int]] = {}
    statuses = [status for status in hub.operations.live if status.name]
    for start in range(0, len(statuses), _MAX_PER_TURN):
        async with turns:
            for status in statuses[start : start + _MAX_PER_TURN]:
                if views.may_read(status.operation_id) and status.live:
                    of_name = counts.setdefault(status.name, {})
                    of_name[status.state] = of_name.get(status.state, 0) + 1
            await asyncio.sleep(0)
    return counts


async def _readable_names(hub: Hub, views: OperationViewBuilder, turns: asyncio.Semaphore) -> dict[str, RunHistory]:
    """Return the names of the operations that may be read, with figures of those only.

    They are as old as the hub remembers operations, because the histories of names do not distinguish operations.
    """
    ended: list[OperationStatus] = []
    number: int | None = None
    while True:
        async with turns:
            page = hub.operations.before(number, _MAX_PER_TURN)
            ended += [status for status in page if not status.live and views.may_read(status.operation_id)]
            await asyncio.sleep(0)
        if not page:
            break
        number = page[-1].number
    histories: dict[str, RunHistory] = {}
    for offset, status in enumerate(sorted(ended, key=lambda status: status.ended_ns or 0), 1):
        if status.name:
            history = histories.pop(status.name, None) or RunHistory(name=status.name)
            history.add_end(status, offset)
            histories[status.name] = history
    return histories
