"""Log lines on stderr, from structlog (tidings) and stdlib logging (libraries), in one format: text or JSON."""

import logging
import sys
from collections.abc import Sequence
from enum import Enum
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from tidings.printable import escape_unprintable
from tidings.redaction import redact_json

# These log connections and shutdowns; the lines of tidings have the same facts, with addresses and ids.
_VERBOSE_LIBRARIES = ("uvicorn", "asyncio", "websockets")


_MULTI_LINE_KEYS = ("exception", "stack")


class StderrLogger:
    """Writes rendered lines to a stream, and holds the name for each line. structlog wraps it."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name = name
        self._stream = stream

    def msg(self, line: str) -> None:
        """Write one line; a closed stream is not an error, because a hub outlives its terminal."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = error = critical = exception = fatal = log = msg


def configure_logging(format: str, level: str, stream: TextIO | None = None, *, worker: int | None = None) -> None:
    """Send every log line to `stream` from now on.

    Levels below `level` cost one call of an empty method. Loggers are cached at first use, so a later call of this
    function does not change those that were used before.

    Args:
        format: `text`, with colours on a terminal, or `json`, one object per line.
        level: Lowest level to log: `debug`, `info`, `warning` or `error`.
        stream: Output. Default: stderr.
        worker: Number of the worker that each line names; None where this process is the whole hub.
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
    if worker is not None:
        shared.append(_WorkerName(worker))
    rendering = _renderers(format, stream)
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
    for name in _VERBOSE_LIBRARIES:
        logging.getLogger(name).setLevel(least if level == "debug" else max(least, logging.WARNING))
    logging.captureWarnings(True)


class _WorkerName:
    """Adds the number of the worker to each line."""

    def __init__(self, worker: int) -> None:
        self._worker = worker

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event.setdefault("worker", self._worker)
        return event


def _renderers(format: str, stream: TextIO) -> Sequence[Processor]:
    if format == "json":
        return [structlog.processors.format_exc_info, _redact, _render_json]
    console = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )
    return [structlog.processors.format_exc_info, _redact, _make_printable, console]


def _redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Replace secrets at every level: libraries log request lines, headers and frames, and with them access tokens."""
    redacted: EventDict = redact_json(dict(event))
    return redacted


def _make_printable(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Escape control characters: paths, reasons and codes in a line may come from strangers."""
    for name, value in event.items():
        if isinstance(value, Enum):
            event[name] = value.value
        elif isinstance(value, str) and name not in _MULTI_LINE_KEYS:
            event[name] = escape_unprintable(value)
    return event


def _add_logger_name(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    event["logger"] = record.name if record is not None else getattr(logger, "name", "tidings")
    return event


def _render_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    ordered = {name: event.pop(name) for name in ("timestamp", "level", "logger", "event") if name in event}
    return msgspec.json.encode({**ordered, **event}, enc_hook=_describe).decode()


def _describe(value: Any) -> str:
    return str(value)
