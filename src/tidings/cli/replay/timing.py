"""Computes when each event of a recording is played, and its new timestamp."""

import re

from msgspec import Struct

from tidings.cli.units import parse_duration
from tidings.exceptions import ConfigError, InvalidTimestamp
from tidings.protocol.timestamps import from_nanoseconds, to_nanoseconds

MAX = "max"
_NS = 1_000_000_000
_SPEED = re.compile(r"(\d+(?:\.\d+)?)x?", re.ASCII)


class PlaybackSchedule:
    """Maps recorded time to playback time. Pure: moments in, moments out.

    Args:
        speed: Factor of the speed; None is as fast as the hub accepts.
        max_pause_s: Maximum pause, in seconds of recorded time; None keeps the pauses.
        start_ns: Start of the replay, nanoseconds since 1970.
        end_ns: Newest timestamp to play, recorded time: without a speed, it becomes `start_ns`.
    """

    def __init__(self, *, speed: float | None, max_pause_s: float | None, start_ns: int, end_ns: int) -> None:
        self._speed = speed
        self._max_pause_ns = None if max_pause_s is None else round(max_pause_s * _NS)
        self._start_ns = start_ns
        self._end_ns = end_ns
        self._last_ns: int | None = None
        self._due_ns = 0

    def due_s(self, moment_ns: int | None) -> float:
        """Return the time to play an event of this recorded moment, in seconds since the start.

        Never earlier than the event before; an event without a moment has the time of the one before.
        """
        if moment_ns is not None:
            if self._last_ns is not None and moment_ns > self._last_ns and self._speed is not None:
                pause_ns = moment_ns - self._last_ns
                if self._max_pause_ns is not None:
                    pause_ns = min(pause_ns, self._max_pause_ns)
                self._due_ns += round(pause_ns / self._speed)
            self._last_ns = moment_ns if self._last_ns is None else max(self._last_ns, moment_ns)
        return self._due_ns / _NS

    def shifted(self, timestamp: str) -> str:
        """Return the new timestamp of the event of the last `due_s`.

        With a speed, it precedes the playback of the event as it preceded its receipt, sped up alike. Without one, all
        timestamps keep their distances, and the newest becomes the start. A new timestamp is never in the future.

        Raises:
            InvalidTimestamp: `timestamp` is not RFC 3339.
        """
        at_ns = to_nanoseconds(timestamp)
        if self._speed is None:
            return from_nanoseconds(min(self._start_ns, self._start_ns - self._end_ns + at_ns))
        played_ns = self._start_ns + self._due_ns
        last_ns = at_ns if self._last_ns is None else self._last_ns
        return from_nanoseconds(min(played_ns, played_ns - round((last_ns - at_ns) / self._speed)))


class Bound(Struct, frozen=True):
    """A moment in a recording: an offset from its beginning, or a time."""

    offset_ns: int | None
    at_ns: int | None

    def moment_ns(self, first_ns: int) -> int:
        """Return the moment in nanoseconds since 1970, for a recording whose first moment is `first_ns`."""
        return first_ns + (self.offset_ns or 0) if self.at_ns is None else self.at_ns


def read_speed(text: str) -> float | None:
    """Return the factor of a speed; None for `max`.

    Raises:
        ConfigError: `text` is not a speed.
    """
    match = _SPEED.fullmatch(text.strip())
    speed = float(match[1]) if match else 0.0
    if text.strip() == MAX:
        return None
    if not 0.001 <= speed <= 1_000_000:
        raise ConfigError(
            f"--speed: invalid speed {text[:40]!r}: expected a factor from 0.001 to 1000000, or max",
            option="speed",
            source="argument",
            hint="Write 1, 10, 0.5 or max.",
        )
    return speed


def read_bound(option: str, text: str) -> Bound:
    """Return the moment that an option names: `90s` after the beginning, or `2025-07-30T12:00:00Z`.

    Raises:
        ConfigError: `text` is neither.
    """
    try:
        return Bound(None, to_nanoseconds(text))
    except InvalidTimestamp:
        pass
    try:
        return Bound(round(parse_duration(text) * _NS), None)
    except ValueError as cause:
        raise ConfigError(
            f"--{option}: invalid time {text[:40]!r}: expected a time or a duration",
            option=option,
            source="argument",
            hint="Pass 1m30s, counted from the beginning, or a time like 2025-07-30T12:00:00Z.",
        ) from cause
