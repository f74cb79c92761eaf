"""Errors that clients raise."""

from tidings.exceptions.base import TidingsError


class ClientError(TidingsError, code="client_error"):
    """Base class of the errors that clients raise."""


class HubUnreachable(ClientError, code="hub_unreachable"):
    """The client could not open a TCP connection to the hub in time."""


class HandshakeRefused(ClientError, code="handshake_refused"):
    """The server refused the WebSocket upgrade; `status` is its HTTP status, `retry_after_s` its `Retry-After`."""

    def __init__(self, message: str, *, status: int, retry_after_s: float = 0.0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after_s = retry_after_s


class ConnectionLost(ClientError, code="connection_lost"):
    """The connection was lost before the reply came."""


class HubClosed(ClientError, code="hub_closed"):
    """The hub closed the connection with `close_code`, which forbids reconnecting."""

    def __init__(self, message: str, *, close_code: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.close_code = close_code


class CommandRefused(ClientError, code="command_refused"):
    """The hub refused a command or an event; `refusal` is the code, `recoverable` whether a retry may succeed."""

    def __init__(self, message: str, *, refusal: str, recoverable: bool, hint: str = "", details: str = "") -> None:
        super().__init__(message, hint=hint, details=details)
        self.refusal = refusal
        self.recoverable = recoverable


class NotAHub(ClientError, code="not_a_hub"):
    """The WebSocket server is not a tidings hub."""


class TokenUnavailable(ClientError, code="token_unavailable"):
    """The program's token function failed, or the file with the token cannot be read now."""


class SignedOut(ClientError, code="signed_out"):
    """The source of the token no longer has one."""


class PublishTimeout(ClientError, code="publish_timeout"):
    """No acknowledgement came in time; the event `event_id` may or may not be in the log."""

    def __init__(self, message: str, *, event_id: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.event_id = event_id
