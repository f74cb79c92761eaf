"""Faults between a client and its hub, as values for `ManualHub.inject`.

Faults apply to whole messages, because a connection by itself does not lose, repeat or reorder anything: a message is
lost with its connection only, and one that arrives twice was sent twice.
"""

from dataclasses import KW_ONLY, dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Callable

Side = Literal["hub", "client"]
"""The receiving side of messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """End the connection without a close, at a message. Give one of `before` and `after`."""

    before: str | None = None
    """A message type: the message is lost with the connection."""
    after: str | None = None
    """A message type: the message arrives, but no answer to it."""
    toward: Side = "hub"
    """The receiving side of the message. Default: the hub."""
    link: str = ""
    """Part of the name of the affected links: `publisher`, `watch`, `watch operations`. Default: every link."""
    times: int | None = 1
    """Number of times the fault applies; None means always. Default: 1."""

    def __post_init__(self) -> None:
        if (self.before is None) == (self.after is None):
            raise ValueError("invalid Cut: give one of before= and after=")


@dataclass(frozen=True, slots=True)
class Delay:
    """Delay messages by the hub's clock. Their order stays, so that later ones wait behind a delayed one."""

    seconds: float
    _: KW_ONLY
    type: str | None = None
    """The message type; None means every message."""
    toward: Side | None = None
    """The receiving side; None means both."""
    link: str = ""
    """Part of the name of the affected links. Default: every link."""
    times: int | None = None
    """Number of times the fault applies; None means always."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Deliver a message twice, as when its sender received no acknowledgement and sent it again."""

    type: str
    """The message type."""
    _: KW_ONLY
    toward: Side = "hub"
    """The receiving side. Default: the hub."""
    link: str = ""
    """Part of the name of the affected links. Default: every link."""
    times: int | None = 1
    """Number of times the fault applies; None means always. Default: 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """Deliver nothing until the fault is removed, as when the receiver does not read from its socket."""

    toward: Side = "client"
    """The receiving side. Default: the client."""
    link: str = ""
    """Part of the name of the affected links. Default: every link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """Refuse new connections until the fault is removed. Together with `ManualHub.cut`, a network failure."""

    link: str = ""
    """Part of the name of the affected links. Default: every link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FullDisk:
    """Fill the log's disk: publishing is refused with `log_full`."""

    times: int | None = None
    """Number of batches to refuse; None means all until the fault is removed."""


Fault = Cut | Delay | Duplicate | Stall | Unreachable | FullDisk


class Injected:
    """An injected fault, removed by `remove` or at the end of a `with` block."""

    def __init__(self, fault: Fault, on_remove: "Callable[[Injected], None]") -> None:
        self.fault = fault
        self.applied = 0
        """Number of times the fault has applied."""
        self._on_remove = on_remove
        self._left = None if isinstance(fault, Stall | Unreachable) else fault.times

    def remove(self) -> None:
        """Remove the fault."""
        self._on_remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()

    def use(self) -> bool:
        """Count one application of the fault; return False if it has applied often enough."""
        if self._left is not None:
            if self._left <= 0:
                return False
            self._left -= 1
        self.applied += 1
        return True


@dataclass(frozen=True, slots=True)
class Passage:
    """The effect of the faults on one message."""

    copies: int = 1
    delay_s: float = 0.0
    cut_before: bool = False
    cut_after: bool = False


_UNAFFECTED = Passage()


class Faults:
    """The faults in force. The owner serialises all calls."""

    def __init__(self) -> None:
        self._injected: dict[Injected, None] = {}

    def __bool__(self) -> bool:
        return bool(self._injected)

    def add(self, injected: Injected) -> None:
        """Put a fault in force."""
        self._injected[injected] = None

    def remove(self, injected: Injected) -> None:
        """Remove a fault."""
        self._injected.pop(injected, None)

    def clear(self) -> None:
        """Remove all faults."""
        self._injected.clear()

    def stalls(self, link: str, toward: Side) -> bool:
        """Return whether messages toward that side of a link are held up now."""
        return any(
            isinstance(each.fault, Stall) and each.fault.toward == toward and each.fault.link in link
            for each in self._injected
        )

    def refuses(self, link: str) -> bool:
        """Return whether a link cannot connect now."""
        return any(isinstance(each.fault, Unreachable) and each.fault.link in link for each in self._injected)

    def disk_full(self) -> bool:
        """Return whether the log must refuse the batch that is appended now."""
        return any(isinstance(each.fault, FullDisk) and each.use() for each in self._injected)

    def passage(self, link: str, toward: Side, type: str) -> Passage:
        """Return the effect of the faults on a message of `type` that is sent now."""
        if not self._injected:
            return _UNAFFECTED
        copies, delay_s, before, after = 1, 0.0, False, False
        for injected in self._injected:
            fault = injected.fault
            if (
                isinstance(fault, FullDisk | Stall | Unreachable)
                or fault.link not in link
                or fault.toward not in (None, toward)
            ):
                continue
            if isinstance(fault, Cut):
                if type in (fault.before, fault.after) and injected.use():
                    before, after = before or type == fault.before, after or type == fault.after
            elif fault.type not in (None, type) or not injected.use():
                continue
            elif isinstance(fault, Delay):
                delay_s += fault.seconds
            else:
                copies += 1
        return Passage(copies, delay_s, before, after)
