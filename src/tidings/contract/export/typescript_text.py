"""Pieces of TypeScript: comments, members, constants, and calls that are broken where a line would be too long."""

import json
import re
from collections.abc import Iterable, Mapping

WIDTH = 110
_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


def format_comment(*paragraphs: str, deprecated: str = "", indent: str = "") -> str:
    """Return a doc comment; "" where there is nothing to say."""
    lines = [paragraph for paragraph in paragraphs if paragraph]
    if deprecated:
        lines.append(f"@deprecated {deprecated}")
    # The end of a comment, and a tag that nobody meant.
    safe = [" ".join(line.replace("*/", "*\\/").split()) for line in lines]
    if not safe:
        return ""
    if len(safe) == 1 and len(safe[0]) < WIDTH:
        return f"{indent}/** {safe[0]} */\n"
    body = f"\n{indent} *\n".join(f"{indent} * {line}" for line in safe)
    return f"{indent}/**\n{body}\n{indent} */\n"


def format_property_name(name: str) -> str:
    """Return a member's name, quoted where it has to be; `__proto__` in a literal would be something else."""
    if name == "__proto__":
        return '["__proto__"]'
    return name if _PLAIN.fullmatch(name) else json.dumps(name)


def format_member(name: str, type: str, about: str) -> str:
    """Return a line of an interface, with its comment."""
    return f"{format_comment(about, indent='  ')}  {name}: {type};\n"


def format_const(name: str, about: str, values: Mapping[str, tuple[str, str]]) -> str:
    """Return an object of constants and the type of its values.

    Args:
        name: Of both.
        about: What to say of it.
        values: By its name, a value and what to say of its deprecation.
    """
    rows = "".join(
        f"{format_comment(deprecated=deprecated, indent='  ')}  {constant}: {json.dumps(value)},\n"
        for constant, (value, deprecated) in values.items()
    )
    return (
        f"{format_comment(about)}export const {name} = {{\n{rows}}} as const;\n"
        f"export type {name} = (typeof {name})[keyof typeof {name}];\n"
    )


def format_literal(pairs: Iterable[tuple[str, str]], indent: str, *, room: int) -> str:
    """Return an object literal, on one line if that fits.

    Args:
        pairs: Names and what they hold.
        indent: Of the line that it begins on.
        room: Characters that are left on that line.
    """
    rows = [f"{format_property_name(name)}: {value}" for name, value in pairs]
    line = f"{{ {', '.join(rows)} }}" if rows else "{}"
    if len(line) <= room and "\n" not in line:
        return line
    inner = "".join(f"{indent}  {row},\n" for row in rows)
    return f"{{\n{inner}{indent}}}"
