"""A contract of an application that uses all that a payload may be made of, with what fits it and what does not."""

import datetime
import decimal
import enum
import uuid
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from tidings.contract.contract import Contract
from tidings.contract.event_types import event

T = TypeVar("T")


INLINE = {"type": "object", "properties": {"a": {"type": "string"}, "side": {"enum": ["l", "r"]}}, "required": ["a"]}
"""A schema that stands where it is used, as authors write them for types of their own."""


class Side(enum.Enum):
    """Which way."""

    BUY = "buy"
    SELL = "sell"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 9


class Point(NamedTuple):
    x: float
    y: float = 0.0


class Extra(TypedDict):
    note: str


class Circle(Struct, frozen=True, tag="circle"):
    radius: Annotated[float, Meta(gt=0)]


class Square(Struct, frozen=True, tag="square"):
    edge: float


class Box(Struct, Generic[T], frozen=True):
    item: T


class Node(Struct, frozen=True, kw_only=True):
    """A part of a tree. */ // `not the end` ${of} this"""

    name: str
    children: list["Node"] = field(default_factory=list)
    """The children."""
    parent: "Node | None" = None


class Array(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A struct that forbids unknown members, and has the name of a TypeScript type."""

    string: str
    type: str = "x"
    func: int = 3


class Everything(Struct, frozen=True, kw_only=True, rename={"dashed": "with-dash"}):
    """Sent for anything at all.

    This is not exported.
    """

    thing_id: Annotated[str, Meta(min_length=1, max_length=8, pattern="^[a-z0-9é]+$")]
    at: Annotated[datetime.datetime, Meta(tz=True)]
    day: datetime.date | None = None
    ident: uuid.UUID | None = None
    price: decimal.Decimal | None = None
    blob: bytes | None = None
    side: Side = Side.BUY
    level: Level | None = None
    mixed: Literal["a", 1, None] = None
    point: Point | None = None
    pair: tuple[int, str] | None = None
    shape: Circle | Square | None = None
    box: Box[int] | None = None
    tree: Node | None = None
    closed: Array | None = None
    extra: Extra | None = None
    unique: set[str] | None = None
    named: dict[Annotated[str, Meta(pattern="^[A-Z]+$", max_length=3)], Annotated[int, Meta(ge=0)]] | None = None
    even: Annotated[int, Meta(multiple_of=2, gt=-10, lt=10)] | None = None
    quarter: Annotated[float, Meta(multiple_of=0.25)] | None = None
    emoji: Annotated[str, Meta(max_length=2)] | None = None
    dashed: str | None = None
    few: Annotated[list[str], Meta(min_length=1, max_length=2)] | None = None
    required_or_null: str | None
    large: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    anything: Any = None
    inline: Annotated[dict[str, Any], Meta(extra_json_schema=INLINE)] | None = None
    maybe: Annotated[bool | None, Meta(description="Unknown.", examples=[False])] = None


class Notice(Struct, frozen=True):
    """A struct with the name of a message of the hub."""

    mine: str


class Nothing(Struct, frozen=True):
    pass


class Word(Struct, frozen=True):
    word: str


ODD = Contract.of(
    event("thing:seen", Everything, channel="things", key="thing_id"),
    event("thing:noted", Notice, channel="things", deprecated="Publish thing:seen. */"),
    event("thing:gone", Nothing, channel="things"),
    event("a_b:c", Word, channel="data"),
    event("a:b_c", Word, channel="data"),
)


class Größe(Struct, frozen=True, kw_only=True):
    größe: int
    名前: str | None = None
    type: str = "x"
    class_: Literal["läuft", "steht", "läuft-nicht"] = field(default="läuft", name="class")
    func: dict[str, int] | None = None


class Event(Struct, frozen=True, kw_only=True):
    """A struct with the name of a schema of the hub, whose field has its own name."""

    event: Literal["a", "b"]
    id: uuid.UUID
    price: decimal.Decimal
    both: str | int | None = None
    sizes: list[Größe] | None = None


class Error(Struct, frozen=True):
    code: Literal[1, 2]


class Map(Struct, frozen=True):
    map: dict[str, list[Error]]


NAMES = Contract.of(
    event("bin:full", Größe, channel="bins"),
    event("shop:event", Event, channel="shop"),
    event("shop:error", Error, channel="shop"),
    event("shop:map", Map, channel="shop"),
    event("type:default", Word, channel="shop"),
)
"""Events whose names are words of the languages, names of the exports' own, or not ASCII."""
LEAST: dict[str, Any] = {"thing_id": "a1", "at": "2025-07-30T12:00:00.25Z", "required_or_null": None}
FITS: tuple[dict[str, Any], ...] = (
    {},
    {"day": "2025-07-30", "ident": "0197f3a6-3c1e-7d0c-9a51-2f6f0a1b4c5d", "price": "12.50", "blob": "aGk="},
    {"side": "sell", "level": 9, "mixed": 1, "point": [1], "pair": [1, "a"]},
    {"mixed": "a", "point": [1, 2.5], "shape": {"type": "circle", "radius": 0.5}},
    {"shape": {"type": "square", "edge": -1}, "box": {"item": 3}},
    {"tree": {"name": "a", "children": [{"name": "b", "parent": {"name": "c"}}]}},
    {"closed": {"string": "s", "type": "t", "func": 0}, "extra": {"note": "n"}, "unique": ["a", "b"]},
    {"named": {"ABC": 0, "D": 7}, "even": -8, "quarter": 0.75, "emoji": "😀é", "with-dash": "d", "few": ["a", "b"]},
    {"large": 2**63 - 1, "anything": {"deep": [1, None, {"a": 1.5}]}, "maybe": None, "required_or_null": "r"},
    {"inline": {"a": "x", "side": "l"}},
    {"thing_id": "éé", "at": "2025-07-30T12:00:00+02:00"},
)
DOES_NOT: tuple[dict[str, Any], ...] = (
    {"thing_id": ""},
    {"thing_id": "aaaaaaaaa"},
    {"thing_id": "A"},
    {"at": "yesterday"},
    {"at": None},
    {"day": "2025-13-30"},
    {"ident": "0197f3a6"},
    {"blob": "not base64!"},
    {"side": "hold"},
    {"level": 2},
    {"level": "LOW"},
    {"mixed": 2},
    {"point": []},
    {"pair": [1]},
    {"pair": [1, "a", 2]},
    {"pair": ["a", 1]},
    {"shape": {"type": "circle", "radius": 0}},
    {"shape": {"type": "triangle"}},
    {"shape": {"radius": 1}},
    {"box": {}},
    {"box": {"item": "3"}},
    {"tree": {"name": "a", "children": [{}]}},
    {"tree": {"name": "a", "parent": {"children": []}}},
    {"closed": {"string": "s", "more": 1}},
    {"extra": {}},
    {"unique": [1]},
    {"named": {"abc": 1}},
    {"named": {"ABCD": 1}},
    {"named": {"A": -1}},
    {"even": 3},
    {"even": -10},
    {"even": 10},
    {"even": 2.5},
    {"quarter": 0.755},
    {"emoji": "😀é😀"},
    {"with-dash": 1},
    {"few": []},
    {"few": ["a", "b", "c"]},
    {"required_or_null": 1},
    {"large": -1},
    {"maybe": "yes"},
)


def payload(changes: dict[str, Any]) -> dict[str, Any]:
    """Return a payload of `thing:seen`: the least one with changes."""
    return {**LEAST, **changes}


def without(member: str) -> dict[str, Any]:
    """Return the least payload without a member."""
    return {name: value for name, value in LEAST.items() if name != member}


GOOD = tuple(map(payload, FITS))
BAD = (*map(payload, DOES_NOT), without("thing_id"), without("at"), without("required_or_null"))


def message(data: object, type: str = "thing:seen") -> str:
    """Return an event as a plain connection reads it."""
    envelope = {
        "type": type,
        "timestamp": "2025-07-30T12:00:00Z",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "data": data,
        "channel": "things" if type.startswith("thing:") else "data",
    }
    return msgspec.json.encode(envelope).decode()
