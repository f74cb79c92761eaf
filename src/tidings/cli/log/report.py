"""What the tools found, for reading and as JSON."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from tidings.cli.units import describe_size, ordinal
from tidings.log.sqlite.backup import Backup, LogInfo, Restored
from tidings.log.sqlite.inspect import Verification

Record = LogInfo | Verification | Backup | Restored


def as_json(record: Struct) -> str:
    """Return a record as one JSON object."""
    return msgspec.json.format(msgspec.json.encode(record, enc_hook=_plain)).decode()


def _plain(value: object) -> str:
    assert isinstance(value, Path)
    return str(value)


def as_text(record: Record) -> str:
    """Return a record as lines, what it is about in front."""
    lines = _lines(record)
    width = max(len(name) for name, _ in lines)
    return "".join(f"{name:{width}}  {value}\n" for name, value in lines)


def _lines(record: Record) -> list[tuple[str, str]]:
    match record:
        case LogInfo():
            return _info(record)
        case Verification():
            return [("file", str(record.path)), ("events", f"{record.events:,}, all well")]
        case Backup():
            return [
                ("copy", f"{record.path}, {describe_size(record.bytes)}"),
                ("events", f"{record.events:,}"),
                ("position", record.position or "none: the log is empty"),
            ]
        case Restored():
            return [
                ("folder", str(record.folder)),
                ("events", f"{record.events:,}"),
                ("position", record.position or "none: the log is empty"),
                ("epoch", f"{record.epoch}, new: what clients saw after the copy was made is a gap to them"),
            ]


def _info(info: LogInfo) -> list[tuple[str, str]]:
    durable = f"{info.durable_events:,} durable ({describe_size(info.durable_bytes)})"
    span = "none"
    if info.oldest_ns is not None and info.newest_ns is not None:
        span = f"{_moment(info.oldest_ns)} to {_moment(info.newest_ns)}"
    return [
        ("file", f"{info.path}, schema {info.schema}"),
        ("epoch", f"{info.epoch}, the {ordinal(info.epochs)}" if info.epochs else "none yet"),
        ("offsets", f"{info.first:,} to {info.head:,}" if info.head >= info.first else f"none after {info.head:,}"),
        ("events", f"{info.events:,}: {durable} and {info.latest_events:,} latest in the range"),
        ("received", span),
        ("disk", f"{describe_size(info.disk_bytes)}, of which {describe_size(info.unused_bytes)} are free for events"),
        ("state", _state(info)),
    ]


def _state(info: LogInfo) -> str:
    if info.process is not None:
        return f"in use by process {info.process}" if info.process else "in use"
    return "closed" if info.closed else "not closed in order: the hub that used it was killed"


def _moment(unix_ns: int) -> str:
    return f"{datetime.fromtimestamp(unix_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S}Z"
