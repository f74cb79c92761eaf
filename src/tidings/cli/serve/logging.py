"""Log lines on stderr: ours, by structlog, and every library's, by stdlib logging, in one form, text or JSON."""

import logging
import sys
from collections.abc import Sequence
from enum import Enum
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from tidings.cli.text import escape_unprintable

# They tell of starts and ends in lines of their own; ours say the same, with addresses and ids.
_TALKATIVE = ("uvicorn", "asyncio", "websockets")


_SEVERAL_LINES = ("exception", "stack")


class StderrLogger:
    """Writes finished lines to a stream; its name goes into each line. What structlog wraps."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name = name
        self._stream = stream

    def msg(self, line: str) -> None:
        """Write one line; nobody reading it is no error, because a hub outlives its terminal."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = error = critical = exception = fatal = log = msg


def configure_logging(form: str, level: str, stream: TextIO | None = None) -> None:
    """Send every log line to `stream`, from now on.

    Levels below `level` cost one call of an empty method. Loggers are cached at first use, so that a later call of this
    function does not reach those that were used already.

    Args:
        form: `text`, in colours on a terminal, or `json`, one object a line.
        level: The least that is written: `debug`, `info`, `warning` or `error`.
        stream: Default: stderr.
    """
    stream = stream or sys.stderr
    least = getattr(logging, level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    rendering = _rendering(form, stream)
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *names: StderrLogger(str(names[0]) if names else "tidings", stream),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(least)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(least if level == "debug" else max(least, logging.WARNING))
    logging.captureWarnings(True)


def _rendering(form: str, stream: TextIO) -> Sequence[Processor]:
    if form == "json":
        return [structlog.processors.format_exc_info, _render_json]
    console = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )
    return [_make_printable, console]


def _make_printable(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Escape what would steer the terminal: paths, reasons and codes in a line may be a stranger's."""
    for name, value in event.items():
        if isinstance(value, Enum):
            event[name] = value.value
        elif isinstance(value, str) and name not in _SEVERAL_LINES:
            event[name] = escape_unprintable(value)
    return event


def _add_logger_name(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    event["logger"] = record.name if record is not None else getattr(logger, "name", "tidings")
    return event


def _render_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    ordered = {name: event.pop(name) for name in ("timestamp", "level", "logger", "event") if name in event}
    return msgspec.json.encode({**ordered, **event}, enc_hook=_described).decode()


def _described(value: Any) -> str:
    return str(value)
