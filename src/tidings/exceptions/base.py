"""The base class of all errors, and errors that belong to no part."""

from typing import ClassVar


class TidingsError(Exception):
    """Base class of all errors that tidings raises on purpose.

    Attributes:
        code: The snake_case code on the wire (docs/protocol/codes.md).
        message: Description of the error, in one sentence.
        hint: Suggested remedy; "" where the hint of the code's row in the table is enough.
        details: Further facts for a log, or "".
    """

    code: ClassVar[str] = "internal"

    def __init_subclass__(cls, *, code: str = "", **more: str) -> None:
        super().__init_subclass__(**more)
        cls.code = code or cls.code

    def __init__(self, message: str, *, hint: str = "", details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return self.message


class OperationCancelled(TidingsError, code="cancelled"):
    """The operation that this code reports on is cancelled; `reason` and `cancelled_by` may be ""."""

    def __init__(self, message: str, *, reason: str = "", cancelled_by: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.cancelled_by = cancelled_by


class ConfigError(TidingsError, code="invalid_config"):
    """An option is not valid; `option` is its name and `source` the place where it is set."""

    def __init__(self, message: str, *, option: str = "", source: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.option = option
        self.source = source


class InvalidContract(TidingsError, code="invalid_contract"):
    """The event type `type` cannot be part of a contract."""

    def __init__(self, message: str, *, type: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.type = type


class MissingExtra(TidingsError, code="missing_extra"):
    """The libraries of the extra `extra` are not installed.

    The hint is one command for every extra, so that it leads to no second hint.
    """

    def __init__(self, message: str, *, extra: str) -> None:
        super().__init__(message, hint="pip install 'tidings[all]'")
        self.extra = extra
