"""Text from outside made safe for terminals: no character of it moves a cursor, sets a title or hides what follows."""

import re

_CONTROL_BYTES = re.compile(rb"\x7f|\xc2[\x80-\x9f]")


def escape_unprintable(text: str) -> str:
    r"""Return `text` with an escape, such as `\x1b`, for each character that is not printable."""
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def escape_lines(text: str) -> str:
    """Return `text` with an escape for each character that is not printable, apart from line ends."""
    return "\n".join(map(escape_unprintable, text.split("\n")))


def escape_json(text: bytes) -> bytes:
    r"""Return JSON in UTF-8 with U+007F to U+009F escaped, which encoders leave alone and terminals may obey."""
    return _CONTROL_BYTES.sub(lambda match: b"\\u00%02x" % match[0][-1], text)


def decode_argument(argument: str) -> str:
    """Return an argument as the text that its bytes are in UTF-8; Python keeps them as surrogates in the C locale."""
    try:
        return argument.encode(errors="surrogateescape").decode()
    except UnicodeError:
        return argument
