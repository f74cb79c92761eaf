"""Rules for JSON that keep its meaning the same for every reader (PROTOCOL.md, "What a message may not be"; RFC 7493).

JSON libraries disagree about two members of one name, about members whose names differ only in case (Go's
`encoding/json` treats them as one), and about numbers beyond 64 bits. One publisher's bytes reach every reader, so the
hub rejects them. `MessageShapes` proves most events free of them by their shape, and calls `check_message` for others.
"""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
import msgspec.inspect
from msgspec import Raw, Struct

from tidings.exceptions import ContractError, InvalidEnvelope, InvalidJSON, InvalidPayload
from tidings.protocol.envelope import BACKSLASH, CR, LF, TAB, Envelope

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1
"""The integers of 64 bits, signed or unsigned."""
# Matches each number outside of a string that is beyond 64 bits or beyond the doubles, and few others.
_LONG_NUMBER = re.compile(rb"[:,\[\s]-?[0-9.]*+(?:(?<=[0-9.]{19})|[eE][+-]?[0-9]{3})")
_NAME = re.compile(rb'"([^"]*)":')
_MAX_DIGITS = 20
_KINDS = 1024
"""Kinds of payloads whose members are remembered: more than any contract has."""


class MemberNames(Struct, frozen=True, gc=False):
    """The declared members of an object."""

    folded: dict[str, str]
    """The names by their case-folded form."""
    below: "dict[str, MemberNames]"
    """The declared members of the objects in them, by name; of an array, those of its items."""
    each: "list[MemberNames]"
    """The declared members of the objects in members of any other name, for a map."""


_NONE = MemberNames({}, {}, [])


@lru_cache(_KINDS)
def declared_members(kind: type[Struct]) -> MemberNames:
    """Return the members of the struct `kind`, and of the structs in its fields."""
    return _members_of(msgspec.inspect.type_info(kind), {}) or _NONE


@lru_cache(_KINDS)
def message_members(data: type[Struct]) -> MemberNames:
    """Return the members of an envelope whose `data` is of the kind `data`."""
    return MemberNames(declared_members(Envelope).folded, {"data": declared_members(data)}, [])


def _members_of(kind: msgspec.inspect.Type, known: dict[type, MemberNames]) -> MemberNames | None:
    """Return the members of the objects in values of `kind`, None without any; `known` are those of the structs above.

    A struct that holds itself is one object here too.
    """
    while isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    if isinstance(kind, msgspec.inspect.UnionType):
        found = [members for each in kind.types if (members := _members_of(each, known)) is not None]
        return _merge(found) if len(found) > 1 else next(iter(found), None)
    if isinstance(kind, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
        return _members_of(kind.item_type, known)
    if isinstance(kind, msgspec.inspect.DictType):
        values = _members_of(kind.value_type, known)
        return None if values is None else MemberNames({}, {}, [values])
    if not isinstance(kind, msgspec.inspect.StructType):
        return None
    if kind.cls not in known:
        known[kind.cls] = members = MemberNames({}, {}, [])
        for field in kind.fields:
            members.folded[field.encode_name.casefold()] = field.encode_name
            below = _members_of(field.type, known)
            if below is not None:
                members.below[field.encode_name] = below
    return known[kind.cls]


def _merge(found: list[MemberNames]) -> MemberNames:
    return MemberNames(
        {folded: name for each in found for folded, name in each.folded.items()},
        {name: members for each in found for name, members in each.below.items()},
        [members for each in found for members in each.each],
    )


def _names_of(declared: MemberNames) -> set[str]:
    """Return all names in `declared`, on every level."""
    names: set[str] = set()
    waiting, seen = [declared], {id(declared)}
    while waiting:
        each = waiting.pop()
        names.update(each.folded.values())
        for below in (*each.below.values(), *each.each):
            if id(below) not in seen:
                seen.add(id(below))
                waiting.append(below)
    return names


@lru_cache(_KINDS)
def _known_names(data: type[Struct]) -> frozenset[bytes]:
    return frozenset(name.encode() for name in _names_of(message_members(data)))


@lru_cache(_KINDS)
def _known_folded(data: type[Struct]) -> frozenset[bytes]:
    return frozenset(map(bytes.lower, _known_names(data)))


def check_message(body: bytes, data: type[Struct]) -> None:
    """Check the members and numbers of the message `body`, whose data is of the kind `data`; see `check_members`."""
    if _LONG_NUMBER.search(body) or not _has_distinct_names(body, data):
        check_members(body, message_members(data))


def _has_distinct_names(body: bytes, data: type[Struct]) -> bool:
    """Return whether a cheap look shows that all names in `body` differ by more than case; false shows nothing."""
    if not body.isascii() or BACKSLASH in body or LF in body or CR in body or TAB in body or b" :" in body:
        return False
    if b',":' in body or b' ":' in body:  # `_NAME` would take the comma between two strings for a name
        return False
    names = _NAME.findall(body)
    distinct = set(names)
    if len(distinct) != len(names):
        return False
    unknown = distinct - _known_names(data)
    return not unknown or _known_folded(data).isdisjoint(name.lower() for name in unknown)


class _Fault:
    """Stands in the decoded value for the place of a fault."""

    def __init__(self, message: str) -> None:
        self.message = message


def check_members(body: bytes, declared: MemberNames = _NONE, *, root: str = "$") -> None:
    """Check the members and numbers of a JSON text, which is valid otherwise.

    Args:
        body: The text: a message, or its data.
        declared: The declared members of the outermost object.
        root: JSON path of `body` in its message.

    Raises:
        InvalidJSON: An object has two members of one name, or a number is beyond 64 bits or beyond the doubles.
        InvalidEnvelope: The name of a member outside `data` differs from a declared one only in case.
        InvalidPayload: So does that of a member in `data`.
    """
    faults: list[_Fault] = []

    def note(message: str) -> _Fault:
        faults.append(_Fault(message))
        return faults[-1]

    def read_object(members: list[tuple[str, Any]]) -> Any:
        value = dict(members)
        if len(value) == len(members):
            return value
        names = [name for name, _ in members]
        twice = next(name for name in value if names.count(name) > 1)
        return note(f"the member {twice[:80]!r} occurs twice")

    readers: dict[str, Any] = {"object_pairs_hook": read_object}
    if _LONG_NUMBER.search(body):
        readers |= {"parse_int": lambda text: _read_integer(text, note), "parse_float": lambda text: _read(text, note)}
    value = json.loads(body, **readers)
    if faults:
        path, message = _locate(value, root) or (root, faults[0].message)
        raise InvalidJSON(
            f"{path}: {message}",
            path=path,
            hint="Write each member once, and numbers as 64-bit integers or as doubles; longer numbers as strings.",
        )
    _check_case(value, declared, root)


def repair_members(data: bytes, kind: type[Struct]) -> bytes | None:
    """Return the object `data` in the form that every reader of the struct `kind` accepts; None if it is in that form.

    Optional members that are `null` are left out, and integers such as `3.0` are written as `3`. All other bytes of the
    members stay.
    """
    try:
        members = msgspec.json.decode(data, type=dict[str, Raw])
    except msgspec.DecodeError:
        return None
    repaired = dict(members)
    for field in msgspec.structs.fields(kind):
        raw = members.get(field.encode_name)
        if raw is None or _fits(raw, field.type):
            continue
        if b"" + raw == b"null":
            if not field.required:
                del repaired[field.encode_name]
        else:
            repaired[field.encode_name] = _with_integers(raw)
    return None if repaired == members else msgspec.json.encode(repaired)


def _with_integers(raw: Raw) -> Raw:
    try:
        value = json.loads(b"" + raw, parse_float=_read_integral)
    except ValueError:  # an integer of more digits than Python reads
        return raw
    return Raw(msgspec.json.encode(value))


def _fits(raw: Raw, kind: Any) -> bool:
    try:
        msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _read_integral(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() and abs(value) <= 2**53 else value


def _read_integer(text: str, note: Callable[[str], _Fault]) -> Any:
    if len(text) <= _MAX_DIGITS and MIN_INTEGER <= int(text) <= MAX_INTEGER:
        return int(text)
    return note(f"the integer {text[:40]} is beyond 64 bits")


def _read(text: str, note: Callable[[str], _Fault]) -> Any:
    value = float(text)
    return value if abs(value) != float("inf") else note(f"the number {text[:40]} is beyond the doubles")


def _locate(value: Any, path: str) -> tuple[str, str] | None:
    if isinstance(value, _Fault):
        return path, value.message
    if isinstance(value, dict):
        items = [(f"{path}.{name}", each) for name, each in value.items()]
    elif isinstance(value, list):
        items = [(f"{path}[{index}]", each) for index, each in enumerate(value)]
    else:
        return None
    return next((found for below, each in items if (found := _locate(each, below))), None)


def _check_case(value: Any, declared: MemberNames, path: str) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check_case(item, declared, f"{path}[{index}]")
    members: dict[str, Any] = value if isinstance(value, dict) else {}
    names = set(declared.folded.values())
    for name, below in members.items():
        meant = declared.folded.get(name.casefold())
        if meant is not None and name not in names:
            raise _wrong_case(name, meant, path)
        inner = [declared.below[name]] if name in declared.below else declared.each
        for each in inner:
            _check_case(below, each, f"{path}.{name}")


def _wrong_case(name: str, meant: str, path: str) -> ContractError:
    kind = InvalidPayload if path.startswith("$.data") else InvalidEnvelope
    return kind(
        f"{path}: invalid member {name[:80]!r}: expected {meant!r}",
        path=path,
        hint=f"Write {meant!r}: some readers ignore the case of names, and others do not.",
    )
