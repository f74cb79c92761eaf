"""The options of `tidings serve`, each defined once: its flag, its variable and its TOML key come from its field."""

import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from tidings.cli.serve.kinds import Choice, Duration, FilePath, Flag, Kind, Several, Size, Text, Whole
from tidings.hub.config import HubConfig
from tidings.log.base import Retention

PREFIX = "TIDINGS_"
"""Of the variables."""
_HUB = HubConfig()
_RETENTION = Retention()
_DAY_S = 86_400.0
_CENTURY_S = 36_525 * _DAY_S


@dataclass(frozen=True, slots=True)
class About:
    """What `Annotated` tells of a field of `ServeSettings`."""

    kind: Kind[Any]
    help: str
    panel: str = "Options"
    """The heading under which `--help` shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option, as its field defines it."""

    field: str
    about: About
    default: Any

    @property
    def flag(self) -> str:
        """`--retention-age`."""
        return f"--{self.key}"

    @property
    def variable(self) -> str:
        """`TIDINGS_RETENTION_AGE`."""
        return PREFIX + self.field.upper()

    @property
    def key(self) -> str:
        """`retention-age`; TOML files may write `retention_age` as well."""
        return self.field.replace("_", "-")


_LOGS, _LIMITS, _KEPT, _ACCESS = "Logging", "Limits", "What is kept", "Who may connect"
_OPERATIONS, _CONTRACT = "Operations", "What may be published"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """What `tidings serve` was told, every value checked."""

    host: Annotated[str, About(Text("ADDRESS"), "Address to listen on; 0.0.0.0 is every interface.")] = "127.0.0.1"
    port: Annotated[int, About(Whole(0, 0xFFFF), "Port to listen on; 0 picks a free one.")] = 8765
    data: Annotated[
        Path | None, About(FilePath("DIR"), "Folder of the log. Default: a folder of this user's own.", _KEPT)
    ] = None
    memory: Annotated[bool, About(Flag(), "Keep no file: everything is gone with the process.", _KEPT)] = False
    retention_events: Annotated[int, About(Whole(1), "Durable events to keep; beyond it the oldest go.", _KEPT)] = (
        _RETENTION.events
    )
    retention_bytes: Annotated[int, About(Size(1 << 16), "Bytes of their data to keep.", _KEPT)] = _RETENTION.bytes
    retention_age: Annotated[float, About(Duration(1, _CENTURY_S), "How long to keep them.", _KEPT)] = _RETENTION.age_s
    ballast: Annotated[int, About(Size(), "Disk space held back, so that a full disk can still be trimmed.", _KEPT)] = (
        8 << 20
    )
    ws_path: Annotated[str, About(Text("PATH", begins="/"), "Where the WebSocket is.")] = "/ws"
    contract: Annotated[
        str | None,
        About(Text("SPEC"), "Events of your own: module:attribute, or a .json or .toml file.", _CONTRACT),
    ] = None
    lenient: Annotated[
        bool, About(Flag(off="strict"), "Take events that no contract declares, and tell of each name once.", _CONTRACT)
    ] = False
    tls_cert: Annotated[
        Path | None, About(FilePath("FILE"), "Certificate chain (PEM); with it the port speaks TLS.", _ACCESS)
    ] = None
    tls_key: Annotated[
        Path | None, About(FilePath("FILE"), "Its private key, where the chain's file does not hold it.", _ACCESS)
    ] = None
    allow_origin: Annotated[
        tuple[str, ...], About(Several(Text("ORIGIN")), "Web origin whose pages may connect; repeatable.", _ACCESS)
    ] = ()
    max_connections: Annotated[int, About(Whole(1, 1_000_000), "Connections at once.", _LIMITS)] = _HUB.max_connections
    heartbeat: Annotated[
        float, About(Duration(1, 3600), "How often idle connections show a sign of life.", _LIMITS)
    ] = _HUB.heartbeat_s
    lease: Annotated[
        float, About(Duration(1, _DAY_S), "How long an operation outlives its producer's connection.", _OPERATIONS)
    ] = _HUB.lease_s
    unattended: Annotated[
        float,
        About(
            Duration(0, _CENTURY_S), "After it a silent operation without a lease has failed; 0 is never.", _OPERATIONS
        ),
    ] = _HUB.unattended_s
    grace: Annotated[
        float, About(Duration(0.1, 3600), "How long an end may take before connections are cut.", _LIMITS)
    ] = 5.0
    log_format: Annotated[str, About(Choice("text", "json"), "Form of the lines on stderr.", _LOGS)] = "text"
    log_level: Annotated[
        str, About(Choice("debug", "info", "warning", "error"), "Least level that is written.", _LOGS)
    ] = "info"


def _options() -> Mapping[str, Option]:
    hints = typing.get_type_hints(ServeSettings, include_extras=True)
    found: dict[str, Option] = {}
    for field in fields(ServeSettings):
        about = hints[field.name].__metadata__[0]
        assert isinstance(about, About)
        assert field.default is not MISSING
        found[field.name] = Option(field=field.name, about=about, default=field.default)
    return found


OPTIONS: Mapping[str, Option] = _options()
"""Every option by its field's name, in the order of `--help`."""
