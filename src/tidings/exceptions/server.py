"""Errors of the hub, its log and its server."""

from tidings.exceptions.base import TidingsError


class RequestError(TidingsError, code="bad_request"):
    """An HTTP request, or a handshake, that the hub rejects."""


class NotFound(RequestError, code="not_found"):
    """The hub has no route for this path."""


class MethodNotAllowed(RequestError, code="method_not_allowed"):
    """The route does not accept this method."""


class UnsupportedMediaType(RequestError, code="unsupported_media_type"):
    """The body has a content type, or an encoding, that the hub does not read."""


class RequestTimeout(RequestError, code="request_timeout"):
    """The body of the request did not arrive in time."""


class UrlTooLong(RequestError, code="url_too_long"):
    """The URL of the request is over its limit."""


class HeadTooLarge(RequestError, code="head_too_large"):
    """The headers of the request are over their limits."""


class UpgradeRequired(RequestError, code="upgrade_required"):
    """The path is the WebSocket's, and the request is not a handshake of WebSocket version 13."""


class OriginRefused(RequestError, code="origin_refused"):
    """The request comes from a web page that may not use the hub; `origin` is the page's origin, or the host name."""

    def __init__(self, message: str, *, origin: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.origin = origin


class LogError(TidingsError, code="log_error"):
    """The log cannot serve a request."""


class LogInUse(LogError, code="log_in_use"):
    """Another process holds the data folder."""


class LogForeign(LogError, code="log_foreign"):
    """The file is not a tidings log."""


class LogCorrupt(LogError, code="log_corrupt"):
    """The file is a damaged tidings log."""


class LogTooNew(LogError, code="log_too_new"):
    """A newer version of tidings wrote the file."""


class LogReadOnly(LogError, code="log_read_only"):
    """The data folder, or a file in it, is not writable."""


class LogFull(LogError, code="log_full"):
    """The disk is full, or the log has reached its limit; no event of the batch was stored."""


class LogBusy(LogError, code="log_busy"):
    """Too many events are unacknowledged; retry after `retry_after_ms`."""

    def __init__(self, message: str, *, retry_after_ms: int = 1000, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_ms = retry_after_ms


class LogUnavailable(LogError, code="log_unavailable"):
    """The log failed while storing the batch; no event of it was stored."""


class LogOpening(LogError, code="log_opening"):
    """The hub is opening its log, and has read `rows_read` of about `rows` rows; try again after `retry_after_ms`."""

    def __init__(
        self, message: str, *, rows_read: int = 0, rows: int = 0, retry_after_ms: int = 1000, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.rows_read = rows_read
        self.rows = rows
        self.retry_after_ms = retry_after_ms


class HubError(TidingsError, code="hub_error"):
    """The hub cannot serve the request now."""


class Draining(HubError, code="draining"):
    """The hub is shutting down and accepts nothing new."""


class TooManyConnections(HubError, code="too_many_connections"):
    """The hub has reached its limit of connections."""


class RateLimited(HubError, code="rate_limited"):
    """More events or commands come each second than a connection or a subject may send; see `retry_after_ms`."""

    def __init__(self, message: str, *, retry_after_ms: int = 1000, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_ms = retry_after_ms


class AbusiveClient(HubError, code="abuse"):
    """The client sends more refused messages, Pings or small fragments than the hub serves for one connection."""


class TooManyRequests(HubError, code="too_many_requests"):
    """A subject or an address uses as much at a time as it may; try again after `retry_after_ms`."""

    def __init__(self, message: str, *, retry_after_ms: int = 1000, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_ms = retry_after_ms


class Overloaded(HubError, code="overloaded"):
    """The hub keeps too many incomplete messages, and dropped the largest."""


class JobOverdue(HubError, code="job_overdue"):
    """A recurring job of the hub has not run for three of its intervals."""

    def __init__(self, message: str, *, job: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.job = job


class InternalError(HubError, code="internal"):
    """A fault in tidings; the cause is chained and logged."""


class ServeError(TidingsError, code="serve_error"):
    """The server cannot start."""


class AddressUnavailable(ServeError, code="address_unavailable"):
    """The server cannot listen on this host and port."""

    def __init__(self, message: str, *, host: str, port: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.host = host
        self.port = port


class AddressInUse(AddressUnavailable, code="address_in_use"):
    """Another process listens on this host and port."""
