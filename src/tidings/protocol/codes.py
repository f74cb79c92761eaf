"""The one table of codes: each error's code, HTTP status, close code, hint, and whether a client reconnects.

Ranges of close codes: 1000–1015 are from RFC 6455, 40xx are ours and final, after 41xx a client reconnects
(docs/protocol/codes.md).
"""

from msgspec import Struct

from tidings import exceptions
from tidings.protocol.payloads import ErrorData


class ErrorCode(Struct, frozen=True, kw_only=True):
    """One row of the table of error codes."""

    code: str
    exception: type[exceptions.TidingsError]
    http: int
    """HTTP status of the response."""
    close: int | None = None
    """The WebSocket close code; None where the connection stays open."""
    recoverable: bool = False
    """Whether the same message or request may succeed later, unchanged."""
    hint: str

    @property
    def reconnect(self) -> bool | None:
        """Whether a client reconnects after this error; None where the connection stays open."""
        return None if self.close is None else should_reconnect(self.close)


def _row(
    exception: type[exceptions.TidingsError],
    http: int,
    hint: str,
    *,
    close: int | None = None,
    recoverable: bool = False,
) -> ErrorCode:
    return ErrorCode(
        code=exception.code, exception=exception, http=http, close=close, recoverable=recoverable, hint=hint
    )


CODES: dict[str, ErrorCode] = {
    row.code: row
    for row in (
        # Messages
        _row(exceptions.ContractError, 400, "Compare the message with PROTOCOL.md."),
        _row(exceptions.InvalidJSON, 400, "Send one JSON object per message."),
        _row(
            exceptions.InvalidUTF8,
            400,
            "Encode the whole message as UTF-8, including the members you add yourself.",
            close=1007,
        ),
        _row(exceptions.TooDeep, 400, "Flatten the payload to at most 64 levels, or publish a link to it."),
        _row(
            exceptions.InvalidEnvelope,
            400,
            'Send an object like {"type": "operation:progress", "data": {...}}; `type` is required.',
        ),
        _row(exceptions.BinaryMessage, 415, "Send text frames; JSON is text.", close=1003),
        _row(exceptions.InvalidTimestamp, 422, "Write RFC 3339 in UTC, or leave the timestamp out."),
        _row(exceptions.InvalidTraceID, 422, "Use 1–128 printable ASCII characters, or leave the trace id out."),
        _row(exceptions.InvalidEventID, 422, "Use 16–64 printable ASCII characters; a UUIDv7 is a good choice."),
        _row(exceptions.UnknownType, 422, "Use a type of the contract; `tidings publish --list` shows them."),
        _row(exceptions.NotPublishable, 403, "Publish an event of another type: only the hub writes these."),
        _row(exceptions.InvalidPayload, 422, "Correct `data`; docs/protocol/events.md lists the fields of each type."),
        _row(exceptions.PayloadTooLarge, 413, "Store the data elsewhere and publish a link to it, such as `url`."),
        _row(exceptions.InvalidKey, 422, "Use a key of 1–255 bytes of UTF-8 without control characters."),
        _row(exceptions.UnknownChannel, 422, "Use `global`, `operations`, `data`, `system` or a declared channel."),
        _row(exceptions.WrongChannel, 422, "Leave `channel` out: the event goes to the channel of its type."),
        _row(exceptions.InvalidPath, 422, "Write a path as `channel`, `channel/key`, `channel/prefix*` or `*`."),
        _row(
            exceptions.InvalidPosition,
            422,
            "Use `snapshot`, `now`, `first`, an RFC 3339 time or a position of the hub.",
        ),
        _row(exceptions.InvalidCommand, 422, "Give every command an `id` of 1–64 characters and the data it needs."),
        _row(exceptions.InvalidParameter, 400, "Correct the parameter; docs/protocol/http.md lists them."),
        _row(exceptions.NotSupported, 501, "Compare your contract with the hub's: `connection:established` names it."),
        _row(exceptions.EventIDReused, 422, "Use a new event id for a new event."),
        _row(
            exceptions.LimitExceeded,
            422,
            "Unsubscribe from what is not needed, open another connection, or end operations.",
        ),
        # Operations
        _row(exceptions.OperationError, 409, "See the states of an operation in docs/protocol/operations.md."),
        _row(exceptions.OperationUnknown, 404, "List the operations with `tidings ls`."),
        _row(exceptions.OperationExists, 409, "End the operation first, or start one with another operation_id."),
        _row(exceptions.OperationFinished, 409, "Start the next attempt with `operation:start`."),
        _row(exceptions.OperationFenced, 409, "Stop: this attempt has ended, or another producer holds it."),
        _row(exceptions.OperationCancelled, 409, "Stop the work, clean up, and let the exception propagate."),
        # HTTP requests
        _row(exceptions.RequestError, 400, "Compare the request with /openapi.json."),
        _row(exceptions.NotFound, 404, "`GET /openapi.json` lists all routes."),
        _row(exceptions.MethodNotAllowed, 405, "Use a method from the `Allow` header."),
        _row(exceptions.UnsupportedMediaType, 415, "Send `application/json`, or `application/x-ndjson`, as UTF-8."),
        _row(exceptions.UrlTooLong, 414, "Read many paths with `channel:subscribe`, over the WebSocket."),
        _row(exceptions.HeadTooLarge, 431, "Send fewer or shorter headers, such as cookies."),
        _row(exceptions.RequestTimeout, 408, "Send bodies without long pauses, or smaller ones.", recoverable=True),
        _row(
            exceptions.UpgradeRequired, 426, "Connect with a WebSocket client, through a proxy that forwards upgrades."
        ),
        _row(
            exceptions.OriginRefused,
            403,
            "Allow the page's origin, or the hub's name: `tidings serve --allow-origin URL`, `--allow-host NAME`.",
        ),
        # The log
        _row(exceptions.LogError, 503, "See the hub's log.", recoverable=True),
        _row(exceptions.LogInUse, 503, "Stop the other hub, or give this hub its own --data folder."),
        _row(exceptions.LogForeign, 503, "Point --data at an empty folder, or at one a hub has used."),
        _row(exceptions.LogCorrupt, 503, "Run `tidings data verify`, then `tidings data restore` from a backup."),
        _row(exceptions.LogTooNew, 503, "Run the version of tidings that wrote the log, or a newer one."),
        _row(exceptions.LogReadOnly, 503, "Make the data folder writable for the hub's user, or use --memory."),
        _row(exceptions.LogFull, 507, "Free disk space, or lower the retention; then publish again.", recoverable=True),
        _row(exceptions.LogBusy, 503, "Wait for acknowledgements, then publish again.", recoverable=True),
        _row(
            exceptions.LogOpening,
            503,
            "Try again: the hub serves everything when its log is open.",
            close=1013,
            recoverable=True,
        ),
        _row(exceptions.LogUnavailable, 503, "Publish again; the cause is in the hub's log.", recoverable=True),
        # The hub
        _row(exceptions.HubError, 503, "Try again.", recoverable=True),
        _row(
            exceptions.Draining,
            503,
            "Reconnect; another hub, or this one restarted, takes over.",
            close=4100,
            recoverable=True,
        ),
        _row(
            exceptions.TooManyConnections,
            503,
            "Try again later, or raise --max-connections.",
            close=1013,
            recoverable=True,
        ),
        _row(
            exceptions.RateLimited,
            429,
            "Send the message again after the time in `retry_after_ms`, and fewer each second.",
            recoverable=True,
        ),
        _row(
            exceptions.AbusiveClient,
            429,
            "Correct the messages that the hub refuses, and send fewer Pings, and fragments of at least 512 bytes.",
            close=4029,
        ),
        _row(
            exceptions.TooManyRequests,
            429,
            "Send fewer requests at a time, and try again after the time in `retry_after_ms`.",
            close=1013,
            recoverable=True,
        ),
        _row(exceptions.Overloaded, 503, "Reconnect, and send whole messages.", close=1013, recoverable=True),
        _row(
            exceptions.JobOverdue,
            503,
            "Read the cause in the hub's log; restart the hub if it remains.",
            recoverable=True,
        ),
        _row(
            exceptions.InternalError,
            500,
            "Try again; if the error remains, report it with the hub's log.",
            close=1011,
            recoverable=True,
        ),
        # Access
        _row(exceptions.AccessError, 403, "Ask the administrator of the hub."),
        _row(exceptions.Forbidden, 403, "Ask the administrator of the hub for a grant."),
        _row(exceptions.Unauthenticated, 401, "Send `Authorization: Bearer TOKEN`, or `auth:token` over WebSocket."),
        _row(exceptions.InvalidCredential, 401, "Get a new token or API key, and connect again.", close=4001),
        _row(exceptions.InvalidToken, 401, "Send the token as it was issued, without quotes or blanks.", close=4001),
        _row(exceptions.TokenTruncated, 401, "Send the whole token: its end is missing.", close=4001),
        _row(exceptions.TokenTooLarge, 401, "Put fewer claims into the token.", close=4001),
        _row(exceptions.TokenExpired, 401, "Get a new token, and connect again.", close=4001),
        _row(exceptions.TokenNotYetValid, 401, "Correct the clock of the issuer or of the hub.", close=4001),
        _row(exceptions.WrongAudience, 401, "Ask the issuer for a token for this hub.", close=4001),
        _row(exceptions.WrongIssuer, 401, "Get a token from an issuer that the hub trusts.", close=4001),
        _row(exceptions.WrongAlgorithm, 401, "Sign the token with an algorithm that the hub accepts.", close=4001),
        _row(exceptions.UnknownSigningKey, 401, "Get a new token: the issuer may have rotated its keys.", close=4001),
        _row(exceptions.UnknownApiKey, 401, "Check the key, or ask the administrator of the hub for one.", close=4001),
        _row(exceptions.ApiKeyExpired, 401, "Ask the administrator of the hub for a new key.", close=4001),
        _row(exceptions.CredentialRevoked, 401, "Ask the administrator of the hub for a new one.", close=4001),
        _row(exceptions.InvalidTicket, 401, "Get a new ticket (`POST /v1/tickets`) for each connection.", close=4001),
        _row(
            exceptions.CredentialInURL,
            400,
            "Send `Authorization: Bearer TOKEN`; in a browser `auth:token`, or a ticket (`POST /v1/tickets`). The "
            "secret may be in logs now: replace it.",
            close=4001,
        ),
        _row(
            exceptions.TooManyFailures,
            429,
            "Correct the credential, and try again after the time in `retry_after_ms`.",
            close=1013,
            recoverable=True,
        ),
        _row(exceptions.AuthenticationTimeout, 401, "Send `auth:token` as soon as `auth:required` comes.", close=4001),
        _row(
            exceptions.AuthenticationUnavailable,
            503,
            "Try again: a server that the hub asks about credentials does not answer.",
            close=1013,
            recoverable=True,
        ),
        _row(exceptions.InvalidGrant, 422, "Write an action and a path, such as `read operations/acme.*`."),
        _row(exceptions.ReservedName, 403, "Choose another name: those of the hub begin with `tidings`."),
        _row(
            exceptions.LicenseExpired, 403, "Ask the administrator of the hub to renew its license.", recoverable=True
        ),
        # Startup
        _row(exceptions.ServeError, 500, "See the message."),
        _row(exceptions.AddressInUse, 500, "Stop the other program, or choose another --port (0 picks a free one)."),
        _row(exceptions.AddressUnavailable, 500, "Choose a --host of this machine and a --port this user may open."),
        _row(exceptions.ConfigError, 500, "Correct the option, the variable or the file that the error names."),
        _row(
            exceptions.InsecureAddress,
            500,
            "Pass --auth keys, --auth jwt or --auth forward, or --insecure, or --host 127.0.0.1.",
        ),
        _row(exceptions.InvalidKeyFile, 500, "Correct the line, or restore the file; `tidings key list` checks it."),
        _row(exceptions.UnsafeFile, 500, "Let the file belong to the user of the hub, with mode 0600."),
        _row(exceptions.InvalidLicense, 500, "Copy the license again, whole; `tidings license verify` checks it."),
        _row(exceptions.LicenseOfAnotherKey, 500, "Use the public key of the issuer, or ask it for a license."),
        _row(exceptions.LicenseNotYetValid, 500, "Set the clock of the machine, or wait until the license begins."),
        _row(exceptions.InvalidContract, 500, "Declare the event as docs/contract.md describes."),
        _row(exceptions.MissingExtra, 500, "Install the extra."),
        # Clients
        _row(exceptions.ClientError, 500, "See the message.", recoverable=True),
        _row(
            exceptions.HubUnreachable,
            502,
            "Start a hub with `tidings serve`, or correct the URL (TIDINGS_URL).",
            recoverable=True,
        ),
        _row(
            exceptions.HandshakeRefused, 502, "Check the URL's path (a hub listens on /ws); `tidings doctor` tests it."
        ),
        _row(exceptions.ConnectionLost, 502, "Reconnect.", recoverable=True),
        _row(exceptions.HubClosed, 502, "Read the hub's reason."),
        _row(exceptions.CommandRefused, 422, "Read the hub's message."),
        _row(exceptions.NotAHub, 502, "Point the URL at a tidings hub; `tidings doctor` tests it."),
        _row(exceptions.TokenUnavailable, 502, "Correct the source of the token.", recoverable=True),
        _row(exceptions.SignedOut, 401, "Run `tidings login`, or set TIDINGS_TOKEN."),
        _row(
            exceptions.PublishTimeout,
            504,
            "Publish again with the same event_id: the hub stores it once.",
            recoverable=True,
        ),
    )
}


class CloseCode(Struct, frozen=True, kw_only=True):
    """One close code that the hub uses, and whether a client reconnects after it."""

    code: int
    name: str
    reconnect: bool


CLOSE_CODES: dict[int, CloseCode] = {
    row.code: row
    for row in (
        CloseCode(code=1000, name="normal", reconnect=False),
        CloseCode(code=1001, name="going away", reconnect=True),
        CloseCode(code=1002, name="protocol error", reconnect=False),
        CloseCode(code=1003, name="text only", reconnect=False),
        CloseCode(code=1007, name="not UTF-8", reconnect=False),
        CloseCode(code=1008, name="policy violation", reconnect=False),
        CloseCode(code=1009, name="message too big", reconnect=False),
        CloseCode(code=1011, name="internal error", reconnect=True),
        CloseCode(code=1013, name="try again later", reconnect=True),
        CloseCode(code=4001, name="authentication failed", reconnect=False),
        CloseCode(code=4003, name="forbidden", reconnect=False),
        CloseCode(code=4029, name="abuse", reconnect=False),
        CloseCode(code=4051, name="license expired", reconnect=True),
        CloseCode(code=4100, name="draining", reconnect=True),
        CloseCode(code=4101, name="epoch changed", reconnect=True),
        CloseCode(code=4102, name="replaced", reconnect=True),
    )
}


def should_reconnect(close_code: int) -> bool:
    """Return whether a client reconnects after `close_code`; yes for unknown codes."""
    row = CLOSE_CODES.get(close_code)
    if row is not None:
        return row.reconnect
    if close_code in (1000, 1002, 1003) or 1007 <= close_code <= 1010:
        return False
    return not 4000 <= close_code <= 4099


def row_of(error: exceptions.TidingsError) -> ErrorCode:
    """Return the table's row for `error`."""
    return CODES.get(error.code) or CODES["internal"]


def error_data(error: exceptions.TidingsError) -> ErrorData:
    """Return `error` as ErrorData; its hint, or the table's where it has none."""
    row = row_of(error)
    return ErrorData(
        code=row.code,
        message=error.message,
        details=error.details or None,
        recoverable=row.recoverable,
        hint=error.hint or row.hint,
    )
