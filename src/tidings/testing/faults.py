"""What can go wrong between a client and its hub, as values: given to `ManualHub.inject`, they happen when they apply.

A fault looks at whole messages, because a connection loses, repeats and reorders nothing by itself: what is lost is
lost with the connection, and what comes twice was sent twice.
"""

from dataclasses import KW_ONLY, dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Callable

Side = Literal["hub", "client"]
"""Where messages are going."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The connection ends without a word, at a message.

    Before it: the message is lost with the connection. After it: the message arrived, but nothing that answers it.
    """

    before: str | None = None
    """A message type."""
    after: str | None = None
    """A message type; one of the two is named."""
    toward: Side = "hub"
    link: str = ""
    """Part of the name of the links that this happens to: `publisher`, `watch`, `watch operations`."""
    times: int | None = 1
    """How often; None is always."""

    def __post_init__(self) -> None:
        if (self.before is None) == (self.after is None):
            raise ValueError("a Cut has one of before= and after=")


@dataclass(frozen=True, slots=True)
class Delay:
    """Messages take a time, by the hub's clock. Their order stays, so that later ones wait behind a delayed one."""

    seconds: float
    _: KW_ONLY
    type: str | None = None
    """The message type; None is every message."""
    toward: Side | None = None
    """None is both ways."""
    link: str = ""
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A message arrives twice, as when its sender did not hear that it had arrived."""

    type: str
    _: KW_ONLY
    toward: Side = "hub"
    link: str = ""
    times: int | None = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """Nothing arrives, as when the reader does not drain its socket, until the fault is removed."""

    toward: Side = "client"
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """New connections are refused, until the fault is removed: with `ManualHub.cut`, a network that is gone."""

    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FullDisk:
    """The log takes nothing: publishing is refused with `log_full`."""

    times: int | None = None
    """How many batches of events; None is until the fault is removed."""


Fault = Cut | Delay | Duplicate | Stall | Unreachable | FullDisk


class Injected:
    """A fault that was injected: removed by `remove`, or at the end of a `with` block."""

    def __init__(self, fault: Fault, removed: "Callable[[Injected], None]") -> None:
        self.fault = fault
        self.applied = 0
        """How often it has happened."""
        self._removed = removed
        self._left = None if isinstance(fault, Stall | Unreachable) else fault.times

    def remove(self) -> None:
        """Let it happen no more."""
        self._removed(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()

    def use(self) -> bool:
        """Let it happen once more; return whether it may."""
        if self._left is not None:
            if self._left <= 0:
                return False
            self._left -= 1
        self.applied += 1
        return True


@dataclass(frozen=True, slots=True)
class Passage:
    """What happens to one message."""

    copies: int = 1
    delay_s: float = 0.0
    cut_before: bool = False
    cut_after: bool = False


_UNHINDERED = Passage()


class Faults:
    """The faults that are in force. Serialised by its owner."""

    def __init__(self) -> None:
        self._injected: dict[Injected, None] = {}

    def __bool__(self) -> bool:
        return bool(self._injected)

    def add(self, injected: Injected) -> None:
        """Let a fault be in force."""
        self._injected[injected] = None

    def remove(self, injected: Injected) -> None:
        """Let it be in force no more."""
        self._injected.pop(injected, None)

    def clear(self) -> None:
        """Let none be in force."""
        self._injected.clear()

    def stalls(self, link: str, toward: Side) -> bool:
        """Return whether nothing arrives on that side of a link now."""
        return any(
            isinstance(each.fault, Stall) and each.fault.toward == toward and each.fault.link in link
            for each in self._injected
        )

    def refuses(self, link: str) -> bool:
        """Return whether a link cannot connect now."""
        return any(isinstance(each.fault, Unreachable) and each.fault.link in link for each in self._injected)

    def disk_full(self) -> bool:
        """Return whether the log must refuse the batch that is given to it now."""
        return any(isinstance(each.fault, FullDisk) and each.use() for each in self._injected)

    def passage(self, link: str, toward: Side, type: str) -> Passage:
        """Return what happens to a message of `type` that is sent now."""
        if not self._injected:
            return _UNHINDERED
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
