"""Exceptions and values of a job whose methods and attributes fail.

A module of its own: pytest and its plugins read every name of a test module, and fail at some of these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Never

import tidings


class Stop(BaseException):
    """An exception that is not an Exception, as those of pytest."""


def fail(*_: object) -> Never:
    raise LookupError("no such attribute")


def leave(*_: object) -> Never:
    raise SystemExit(0)


def stop(*_: object) -> Never:
    raise Stop


class MuteMeta(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        leave()

    @property
    def __module__(cls) -> str:  # type: ignore[override]
        fail()


class Everything(Exception):
    __getattribute__ = fail


class Notes(Exception):
    __notes__ = property(fail)


class Hint(Exception):
    hint = property(leave)
    recoverable = property(stop)


class Truth:
    __bool__ = __eq__ = __class__ = property(fail)


class OddHint(Exception):
    hint = recoverable = code = Truth()


class Lazy(Exception):
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Mute(Exception):
    __str__ = __repr__ = leave


class Raises(Exception):
    def __str__(self) -> str:
        raise self


class Endless(Exception):
    def __str__(self) -> str:
        return str(self)


class Long(Exception):
    def __str__(self) -> str:
        return "x" * 10_000_000


class Word(str):
    __slots__ = ()
    encode = __len__ = __getitem__ = __format__ = fail  # type: ignore[assignment]


class WithWord(Exception):
    def __str__(self) -> str:
        return Word("a word of its own")


class Meta(Exception, metaclass=MuteMeta):
    pass


class Group(ExceptionGroup[Exception]):
    split = subgroup = derive = leave
    exceptions = property(fail)


class Exit(SystemExit):
    code = property(fail)


class Cancelled(tidings.OperationCancelled):
    @property
    def reason(self) -> str:
        raise LookupError

    @reason.setter
    def reason(self, value: str) -> None:
        pass


def circular() -> Exception:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    first.__context__, second.__context__ = second, first
    return first


ERRORS: list[tuple[BaseException, str, str, str]] = [
    (Everything("x"), "failed", "everything", "x"),
    (Notes("x"), "failed", "notes", "x"),
    (Hint("x"), "failed", "hint", "x"),
    (OddHint("x"), "failed", "odd_hint", "x"),
    (Lazy("x"), "failed", "lazy", "x"),
    (Mute("x"), "failed", "mute", "Mute"),
    (Raises("x"), "failed", "raises", "Raises"),
    (Endless("x"), "failed", "endless", "Endless"),
    (Long("x"), "failed", "long", "x" * 1_999 + "…"),
    (WithWord("x"), "failed", "with_word", "a word of its own"),
    (Meta("x"), "failed", "meta", "x"),
    (Group("several", [ValueError("x")]), "failed", "group", "several (1 sub-exception)"),
    (Exit(3), "failed", "exit_1", "3"),
    (Cancelled("stopped"), "cancelled", "", "stopped"),
    (circular(), "failed", "value_error", "first"),
    (Stop("x"), "failed", "stop", "x"),
    (MemoryError(), "failed", "memory_error", "MemoryError"),
    (ValueError("\ud800 half"), "failed", "value_error", "? half"),
]


@dataclass
class Row:
    name: object


class Facts(Mapping[str, Any]):
    __getitem__ = __iter__ = __len__ = __repr__ = leave


class Unspeakable:
    __str__ = __repr__ = leave
