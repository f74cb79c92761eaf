"""The options of `tidings serve`, each defined once: its flag, its variable and its TOML key come from its field.

Where each option's value comes from: a flag, else a `TIDINGS_…` variable, else the TOML file, else its default.
"""

import tomllib
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from tidings.cli.serve.option_types import Choice, Duration, FilePath, Flag, Kind, Several, Size, Text, Whole
from tidings.exceptions import ConfigError
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


_DEFAULT = "default"
_SHOW = "`tidings serve --show-config` prints every option and its source."


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings, and for each option's field the name of its source."""

    settings: ServeSettings
    sources: Mapping[str, str]

    def show(self) -> str:
        """Return a TOML file that says the same again, each line with its source."""
        lines = []
        for name, option in OPTIONS.items():
            value = getattr(self.settings, name)
            # TOML has no null: what is not set is shown as a comment.
            written = (
                f"# {option.key} is not set" if value is None else f"{option.key} = {option.about.kind.write(value)}"
            )
            lines.append((written, self.sources[name]))
        width = max(len(written) for written, _ in lines)
        return "".join(f"{written:{width}}  # {source}\n" for written, source in lines)


@dataclass(frozen=True, slots=True)
class _Found:
    value: Any
    source: str
    rank: int
    """0 for flags, 1 for variables, 2 for the file, 3 for the default."""


def resolve(flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None, *, data: Path) -> Resolved:
    """Settle every option.

    Args:
        flags: By field; None where the flag was not given.
        environ: The process's environment.
        file: The TOML file, if one was named.
        data: The data folder where nobody names one.

    Raises:
        ConfigError: A value cannot be used, the file cannot be read, or it has a key that there is not.
    """
    in_file = {} if file is None else _read_file(file)
    found = {name: _find(option, flags, environ, in_file, file) for name, option in OPTIONS.items()}
    _choose_log(found, data)
    if found["tls_key"].value is not None and found["tls_cert"].value is None:
        raise ConfigError(
            f"{found['tls_key'].source}: a private key without its certificate",
            option="tls-key",
            source=found["tls_key"].source,
            hint="Give --tls-cert too, or neither.",
        )
    settings = ServeSettings(**{name: each.value for name, each in found.items()})
    return Resolved(settings, {name: each.source for name, each in found.items()})


def _find(
    option: Option,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    in_file: Mapping[str, object],
    file: Path | None,
) -> _Found:
    # An empty variable is one that a shell or a unit file unset; an empty flag is a mistake worth telling.
    given = (flags.get(option.field), environ.get(option.variable) or None, in_file.get(option.field))
    names = (option.flag, option.variable, f"{file}, {option.key}")
    for rank, (value, source) in enumerate(zip(given, names, strict=True)):
        if value is not None:
            try:
                return _Found(option.about.kind.read(value), source, rank)
            except ValueError as cause:
                raise ConfigError(f"{source}: {cause}", option=option.key, source=source, hint=_SHOW) from cause
    return _Found(option.default, _DEFAULT, len(given))


def _choose_log(found: dict[str, _Found], data: Path) -> None:
    """Settle between `--data` and `--memory`: the one that was said nearer to the command wins."""
    folder, memory = found["data"], found["memory"]
    if memory.value and folder.value is not None:
        if folder.rank == memory.rank:
            raise ConfigError(
                f"{folder.source} and {memory.source} exclude each other",
                option="memory",
                source=memory.source,
                hint="Choose a folder, or memory alone.",
            )
        if folder.rank < memory.rank:
            found["memory"] = _Found(False, folder.source, folder.rank)
        else:
            found["data"] = _Found(None, memory.source, memory.rank)
    elif memory.value:
        found["data"] = _Found(None, memory.source, memory.rank)
    elif folder.value is None:
        found["data"] = _Found(data, _DEFAULT, folder.rank)


def _read_file(file: Path) -> dict[str, object]:
    source = str(file)
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as cause:
        raise ConfigError(
            f"cannot read {source}: {cause.strerror or cause}", option="config", source=source, hint="Check --config."
        ) from cause
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as cause:
        raise ConfigError(
            f"{source} is not TOML: {cause}", option="config", source=source, hint="Write lines like port = 8765."
        ) from cause
    values: dict[str, object] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in OPTIONS:
            raise ConfigError(f"{source}: there is no option {key!r}", option=key, source=source, hint=_nearest(key))
        values[name] = value
    return values


def _nearest(key: str) -> str:
    keys = [option.key for option in OPTIONS.values()]
    near = get_close_matches(key.replace("_", "-"), keys, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Options are {', '.join(keys)}."


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """Return a remark for each variable of the environment that looks like one of ours and is none."""
    variables = [option.variable for option in OPTIONS.values()]
    remarks = []
    for name in environ:
        if name.startswith(PREFIX) and name not in variables and name not in _OTHER_VARIABLES:
            near = get_close_matches(name, variables, n=1, cutoff=0.8)
            if near:
                remarks.append(f"{name} is no option; {near[0]} is")
    return remarks


_OTHER_VARIABLES = frozenset({f"{PREFIX}URL", f"{PREFIX}CONFIG"})
"""Ours too, and no options of `serve`."""
