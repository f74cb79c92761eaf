"""Pieces of TypeScript source: comments, members, constants, and literals that break where a line is too long."""

import json
import re
from collections.abc import Iterable, Mapping

MAX_LINE_CHARS = 110
"""Maximum length of a line, in characters."""
_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


def format_comment(*paragraphs: str, deprecated: str = "", indent: str = "") -> str:
    """Return a doc comment; "" for empty paragraphs."""
    lines = [paragraph for paragraph in paragraphs if paragraph]
    if deprecated:
        lines.append(f"@deprecated {deprecated}")
    # A text must not end the comment.
    safe = [" ".join(line.replace("*/", "*\\/").split()) for line in lines]
    if not safe:
        return ""
    if len(safe) == 1 and len(safe[0]) < MAX_LINE_CHARS:
        return f"{indent}/** {safe[0]} */\n"
    body = f"\n{indent} *\n".join(f"{indent} * {line}" for line in safe)
    return f"{indent}/**\n{body}\n{indent} */\n"


def format_property_name(name: str) -> str:
    """Return the name of a member, quoted if necessary; a plain `__proto__` in a literal would set the prototype."""
    if name == "__proto__":
        return '["__proto__"]'
    return name if _PLAIN.fullmatch(name) else json.dumps(name)


def format_member(name: str, type: str, about: str) -> str:
    """Return a member of an interface, with its comment."""
    return f"{format_comment(about, indent='  ')}  {name}: {type};\n"


def format_const(name: str, about: str, values: Mapping[str, tuple[str | int, str]]) -> str:
    """Return an object of constants, and the type of its values.

    Args:
        name: Name of the object and of the type.
        about: Description of the object.
        values: The value and the comment of each constant, by name.
    """
    rows = "".join(
        f"{format_comment(comment, indent='  ')}  {constant}: {json.dumps(value)},\n"
        for constant, (value, comment) in values.items()
    )
    return (
        f"{format_comment(about)}export const {name} = {{\n{rows}}} as const;\n"
        f"export type {name} = (typeof {name})[keyof typeof {name}];\n"
    )


def format_literal(pairs: Iterable[tuple[str, str]], indent: str, *, room: int) -> str:
    """Return an object literal, on one line if it fits.

    Args:
        pairs: Names and their values.
        indent: Indentation of the line that the literal begins on.
        room: Number of characters left on that line.
    """
    rows = [f"{format_property_name(name)}: {value}" for name, value in pairs]
    line = f"{{ {', '.join(rows)} }}" if rows else "{}"
    if len(line) <= room and "\n" not in line:
        return line
    inner = "".join(f"{indent}  {row},\n" for row in rows)
    return f"{{\n{inner}{indent}}}"
