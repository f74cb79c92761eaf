"""Constants of the protocol that exports to other languages share: error codes, close codes and the subprotocol."""

from typing import Final

from msgspec import Struct

from tidings.exceptions import ClientError, ConfigError, InvalidContract, MissingExtra, ServeError
from tidings.protocol.codes import CLOSE_CODES, CODES, should_reconnect

NOT_SENT: Final = (ClientError, ConfigError, InvalidContract, MissingExtra, ServeError)
"""Errors of programs: a hub that runs never sends their codes."""


class Constant(Struct, frozen=True, kw_only=True):
    """One constant."""

    name: str
    """Its words, as in `unknown_type`."""
    value: str | int
    about: str


ERROR_CODES: Final = tuple(
    Constant(name=row.code, value=row.code, about=row.hint)
    for row in CODES.values()
    if not issubclass(row.exception, NOT_SENT)
)
"""The codes of errors that a hub sends, as `code` of ErrorData."""

CLOSE_CODE_CONSTANTS: Final = tuple(
    Constant(
        name=row.name.replace("-", " ").replace(" ", "_"),
        value=row.code,
        about=f"{row.name[0].upper()}{row.name[1:]}; a client {'reconnects' if row.reconnect else 'stays away'}.",
    )
    for row in CLOSE_CODES.values()
)
"""The codes with which a hub closes a WebSocket."""

FINAL_CLOSE_CODES: Final = tuple(code for code in range(1000, 1016) if not should_reconnect(code))
"""Close codes of RFC 6455 after which a client does not reconnect."""
FINAL_RANGE: Final = (4000, 4099)
"""First and last of the hub's own close codes after which a client does not reconnect."""
TEMPORARY_CLOSE_CODES: Final = tuple(
    code for code in range(FINAL_RANGE[0], FINAL_RANGE[1] + 1) if should_reconnect(code)
)
"""Close codes in `FINAL_RANGE` after which a client reconnects all the same."""
