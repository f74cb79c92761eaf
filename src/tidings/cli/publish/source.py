"""What is published: from the arguments, a file, or standard input."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from tidings.exceptions import ConfigError, InvalidEnvelope, InvalidJSON
from tidings.protocol.envelope import Envelope, decode_envelope

STDIN = "-"


def read_data(argument: str | None) -> bytes:
    """Return the data of one event: JSON itself, `-` for standard input, or `@file`.

    Raises:
        ConfigError: The file cannot be read, or nothing was given.
        InvalidJSON: It is not JSON.
    """
    if argument is None:
        return b"null"
    if argument == STDIN:
        data = sys.stdin.buffer.read()
    elif argument.startswith("@"):
        data = _read_file(argument[1:])
    else:
        data = argument.encode(errors="surrogateescape")
    try:
        return bytes(msgspec.json.decode(data, type=msgspec.Raw))
    except msgspec.DecodeError as cause:
        raise InvalidJSON(
            f"the data is not JSON: {str(cause).removeprefix('JSON is malformed: ')}",
            hint="""Quote it for the shell: tidings publish data:update '{"dataset": "prices"}'""",
        ) from cause


def _read_file(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as cause:
        raise ConfigError(
            f"cannot read {name!r}: {cause.strerror}", option="data", source="argument", hint="Check the path after @."
        ) from cause


def read_envelopes(lines: BinaryIO) -> Iterator[tuple[int, Envelope | InvalidEnvelope | InvalidJSON]]:
    """Return the envelopes of an NDJSON stream as they come, each with its line's number; empty lines are none.

    A line that is no envelope comes as what is wrong with it, so that those after it can be published.
    """
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, decode_envelope(line.strip())
            except (InvalidEnvelope, InvalidJSON) as error:
                yield number, error
