"""The options of `tidings serve`, each defined once: its flag, its variable and its TOML key come from its field.

Typer finds each value (flag, else `TIDINGS_…` variable, else the TOML file as `default_map`, else default) and where it
came from. Typer's own conversion is bypassed, because its errors name neither the file nor a variable; one callback
reads all options instead.
"""

import os
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any

import platformdirs
import typer

from tidings.access.key_file import KEY_FILE
from tidings.cli.serve.config_file import read_config_file
from tidings.cli.serve.option_types import (
    FLAG,
    OptionType,
    choice,
    claim_header,
    duration,
    integer,
    integer_or_auto,
    journal_url,
    link_template,
    path,
    place,
    size,
    size_or_off,
    text,
)
from tidings.exceptions import ConfigError
from tidings.hub.config import DEFAULT_LICENSE_GRACE_S, HubConfig
from tidings.log.base import Retention
from tidings.log.sqlite.log import DEFAULT_BALLAST_BYTES
from tidings.server.link_templates import LinkTemplate
from tidings.server.websocket.deflate import DEFAULT_COMPRESSION_BYTES

VARIABLE_PREFIX = "TIDINGS_"
_HUB = HubConfig()
_RETENTION = Retention()
_DAY_S = 86_400.0
_CENTURY_S = 36_525 * _DAY_S
_MAX_EVENTS = 10**12
"""Maximum number of durable events: more than any disk has space for."""
MAX_WORKERS = 64
"""Maximum number of workers: each folds all events, so that more would only cost memory."""
_MAX_RATE = 1_000_000
"""Maximum number of messages per second that a limit allows: more than a hub processes."""
_MIN_COMPRESSION_BYTES = 128
"""Minimum size from which messages are compressed: shorter ones hardly shrink."""
_MAX_BYTES = 1 << 60
"""Maximum size: 1 EiB, which no disk has."""

_LOGS, _LIMITS, _KEPT, _ACCESS = "Logging", "Limits", "Retention", "Access"
_CLUSTER = "Several machines"
_OPERATIONS, _CONTRACT, _LICENSE, _AUTH = "Operations", "Contract", "License", "Authentication"


@dataclass(frozen=True, slots=True)
class About:
    """Describes a field of `ServeSettings`, as the metadata of `Annotated`."""

    type: OptionType
    help: str
    panel: str = "Options"
    """The heading under which `--help` shows it."""
    off: str = ""
    """The flag that turns it off, where that is not `no-` and the option's own name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """The checked settings of one `tidings serve`."""

    host: Annotated[str, About(text("ADDRESS"), "Address to listen on; 0.0.0.0 is every interface.")] = "127.0.0.1"
    port: Annotated[int, About(integer(0, 0xFFFF), "Port to listen on; 0 picks a free one.")] = 8765
    workers: Annotated[
        int, About(integer_or_auto(1, MAX_WORKERS), "Number of processes; auto is one for each core.")
    ] = 1
    data: Annotated[
        Path | None, About(path("DIR"), "Folder of the log. Default: a folder in your user data.", _KEPT)
    ] = None
    memory: Annotated[bool, About(FLAG, "Keep the log in memory only, and lose it on exit.", _KEPT)] = False
    log: Annotated[
        str | None,
        About(
            journal_url(),
            "Share the log with hubs on other machines: nats://host:4222/NAME or postgresql://host/database.",
            _CLUSTER,
        ),
    ] = None
    log_credentials: Annotated[
        Path | None, About(path("FILE"), "Credentials of a NATS user (.creds), or an NKey seed (.nk).", _CLUSTER)
    ] = None
    log_ca: Annotated[
        Path | None, About(path("FILE"), "Certificates (PEM) that verify the NATS servers.", _CLUSTER)
    ] = None
    retention_events: Annotated[
        int, About(integer(1, _MAX_EVENTS), "Maximum number of durable events; the oldest are deleted.", _KEPT)
    ] = _RETENTION.events
    retention_bytes: Annotated[
        int, About(size(1 << 16, _MAX_BYTES), "Maximum size of what the log stores; oldest first.", _KEPT)
    ] = _RETENTION.bytes
    retention_age: Annotated[float, About(duration(1, _CENTURY_S), "Maximum age of durable events.", _KEPT)] = (
        _RETENTION.age_s
    )
    ballast: Annotated[
        int, About(size(0, _MAX_BYTES), "Disk space held in reserve, so that a full disk can still be trimmed.", _KEPT)
    ] = DEFAULT_BALLAST_BYTES
    ws_path: Annotated[str, About(text("PATH", prefix="/"), "Path of the WebSocket.")] = "/ws"
    compression: Annotated[
        int,
        About(
            size_or_off(_MIN_COMPRESSION_BYTES, 1 << 20, DEFAULT_COMPRESSION_BYTES),
            "Size from which WebSocket events are compressed, for clients that ask for it.",
        ),
    ] = DEFAULT_COMPRESSION_BYTES
    link: Annotated[
        tuple[LinkTemplate, ...],
        About(link_template(), "Link of each operation in the dashboard: 'Trace=https://…/{trace_id}'; repeatable."),
    ] = ()
    contract: Annotated[
        str | None,
        About(text("SPEC"), "Contract with your own events: module:attribute, or a .json or .toml file.", _CONTRACT),
    ] = None
    lenient: Annotated[
        bool,
        About(FLAG, "Accept events that the contract does not declare, and log each type once.", _CONTRACT, "strict"),
    ] = False
    tls_cert: Annotated[
        Path | None, About(path("FILE"), "Certificate chain (PEM); enables TLS on the port.", _ACCESS)
    ] = None
    tls_key: Annotated[
        Path | None, About(path("FILE"), "Private key, where the certificate's file does not hold it.", _ACCESS)
    ] = None
    auth: Annotated[
        tuple[str, ...],
        About(
            choice("keys", "jwt", "forward"),
            "Identify clients by API keys, by tokens, or by asking a server; repeatable.",
            _AUTH,
        ),
    ] = ()
    insecure: Annotated[
        bool, About(FLAG, "Without --auth, serve other machines, too: they may read and publish everything.", _AUTH)
    ] = False
    keys: Annotated[
        Path | None, About(path("FILE"), "File of the API keys. Default: keys.jsonl in the data folder.", _AUTH)
    ] = None
    auth_cookie: Annotated[
        str | None, About(text("NAME"), "Cookie of the hub's own origin that may hold a token or key.", _AUTH)
    ] = None
    audit_log: Annotated[
        Path | None, About(path("FILE"), "File for the audit trail: one JSON object per line.", _LOGS)
    ] = None
    jwt_secret_file: Annotated[
        Path | None, About(path("FILE"), "Secret that signs tokens (HS256, HS384, HS512).", _AUTH)
    ] = None
    jwt_public_key: Annotated[
        Path | None, About(path("FILE"), "Public key that verifies tokens: PEM, JWK or JWK Set.", _AUTH)
    ] = None
    jwks_url: Annotated[
        str | None, About(text("URL"), "JWK Set of the issuer of tokens; fetched every 10 minutes.", _AUTH)
    ] = None
    jwt_issuer: Annotated[tuple[str, ...], About(text("TEXT"), "Accepted issuer of tokens; repeatable.", _AUTH)] = ()
    jwt_audience: Annotated[
        tuple[str, ...], About(text("TEXT"), "Accepted audience of tokens; repeatable.", _AUTH)
    ] = ()
    jwt_algorithm: Annotated[
        tuple[str, ...],
        About(text("NAME"), "Accepted algorithm of tokens; repeatable. Default: those of the key.", _AUTH),
    ] = ()
    jwt_leeway: Annotated[float, About(duration(0, 600), "Tolerated difference of clocks.", _AUTH)] = 30.0
    jwt_allow_no_expiry: Annotated[bool, About(FLAG, "Accept tokens without an expiry.", _AUTH)] = False
    jwt_subject_claim: Annotated[str, About(text("NAME"), "Claim that names the subject.", _AUTH)] = "sub"
    forward_auth_url: Annotated[
        str | None,
        About(text("URL"), "Server that identifies the sender of a request: Authelia, oauth2-proxy.", _AUTH),
    ] = None
    forward_auth_header: Annotated[
        tuple[str, ...],
        About(claim_header(), "Header of its answer for a claim: user, groups or another; repeatable.", _AUTH),
    ] = ()
    sign_in_url: Annotated[
        str | None, About(text("URL"), "Page at which people sign in; {url} stands for where to return.", _AUTH)
    ] = None
    sign_out_url: Annotated[str | None, About(text("URL"), "Page at which people sign out.", _AUTH)] = None
    grant_template: Annotated[
        tuple[str, ...],
        About(text("TEMPLATE"), "Grant from claims, as in docs/access.md; repeatable.", _AUTH),
    ] = ()
    license: Annotated[
        Path | None, About(path("FILE"), "License of this hub; read again when it changes.", _LICENSE)
    ] = None
    license_public_key: Annotated[
        Path | None, About(path("FILE"), "Ed25519 key of the issuer (PEM), which verifies the license.", _LICENSE)
    ] = None
    license_grace: Annotated[
        float,
        About(duration(0, _CENTURY_S), "Time for which an expired license still allows reading.", _LICENSE),
    ] = DEFAULT_LICENSE_GRACE_S
    allow_origin: Annotated[
        tuple[str, ...], About(text("ORIGIN"), "Web origin whose pages may connect; repeatable.", _ACCESS)
    ] = ()
    allow_host: Annotated[
        tuple[str, ...],
        About(text("NAME"), "Further name of the hub in URLs, beside addresses and localhost; repeatable.", _ACCESS),
    ] = ()
    trusted_proxy: Annotated[
        tuple[str, ...],
        About(text("CIDR"), "Proxy whose Forwarded or X-Forwarded-* headers count; repeatable.", _ACCESS),
    ] = ()
    root_path: Annotated[
        str | None, About(text("PATH", prefix="/"), "Path below which a proxy serves the hub.", _ACCESS)
    ] = None
    admin_listen: Annotated[
        str | None, About(place(), "Second address, which alone serves /metrics and /v1/admin.", _ACCESS)
    ] = None
    max_connections: Annotated[int, About(integer(1, 1_000_000), "Maximum number of open connections.", _LIMITS)] = (
        _HUB.max_connections
    )
    connections_of_address: Annotated[
        int, About(integer(0, 1_000_000), "Maximum number of connections of one IP address; 0 for no limit.", _LIMITS)
    ] = _HUB.connections_of_address
    connections_of_subject: Annotated[
        int, About(integer(0, 1_000_000), "Maximum number of connections of one subject; 0 for no limit.", _LIMITS)
    ] = _HUB.connections_of_subject
    events_per_s: Annotated[
        int, About(integer(0, _MAX_RATE), "Events of one connection per second; 0 for no limit.", _LIMITS)
    ] = int(_HUB.events_per_s)
    commands_per_s: Annotated[
        int, About(integer(0, _MAX_RATE), "Commands of one connection per second; 0 for no limit.", _LIMITS)
    ] = int(_HUB.commands_per_s)
    subject_events_per_s: Annotated[
        int, About(integer(0, _MAX_RATE), "Events of one subject per second; 0 for no limit.", _LIMITS)
    ] = int(_HUB.subject_events_per_s)
    subject_commands_per_s: Annotated[
        int, About(integer(0, _MAX_RATE), "Commands of one subject per second; 0 for no limit.", _LIMITS)
    ] = int(_HUB.subject_commands_per_s)
    posted_events_per_s: Annotated[
        int, About(integer(0, _MAX_RATE), "Events that an IP address posts per second; 0 for no limit.", _LIMITS)
    ] = int(_HUB.posted_events_per_s)
    paths_of_connection: Annotated[
        int, About(integer(1, 1_000_000), "Maximum number of paths that one connection reads.", _LIMITS)
    ] = _HUB.paths_of_connection
    heartbeat: Annotated[
        float, About(duration(1, 3600), "Interval between heartbeats on idle connections.", _LIMITS)
    ] = _HUB.heartbeat_s
    lease: Annotated[
        float,
        About(duration(1, _DAY_S), "Time from a lost producer to the failure of its operations.", _OPERATIONS),
    ] = _HUB.lease_s
    unattended: Annotated[
        float,
        About(
            duration(0, _CENTURY_S),
            "Fail operations without a lease after this much silence; 0 disables.",
            _OPERATIONS,
        ),
    ] = _HUB.unattended_s
    reconnect_rate: Annotated[
        int,
        About(
            integer(1, 1_000_000), "Maximum WebSockets that open per second; a drain spreads clients by it.", _LIMITS
        ),
    ] = int(_HUB.reconnect_rate)
    grace: Annotated[
        float, About(duration(0.1, 3600), "Maximum time for a clean shutdown; then connections are cut.", _LIMITS)
    ] = 5.0
    log_format: Annotated[str, About(choice("text", "json"), "Format of the log lines on stderr.", _LOGS)] = "text"
    log_level: Annotated[str, About(choice("debug", "info", "warning", "error"), "Lowest level to log.", _LOGS)] = (
        "info"
    )

    @property
    def key_file(self) -> Path | None:
        """File of the API keys; None for a hub without a data folder that names none."""
        return self.keys or (None if self.data is None else self.data / KEY_FILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option, as its field defines it."""

    field: str
    about: About
    default: Any

    @property
    def key(self) -> str:
        """The key in TOML, such as `retention-age`; files may write `retention_age` as well."""
        return self.field.replace("_", "-")

    @property
    def flag(self) -> str:
        """The flag, such as `--retention-age`."""
        return f"--{self.key}"

    @property
    def variable(self) -> str:
        """The environment variable, such as `TIDINGS_RETENTION_AGE`."""
        return VARIABLE_PREFIX + self.field.upper()

    @property
    def repeatable(self) -> bool:
        """Whether it holds several values: a repeated flag, a TOML array, or a variable or TOML text with commas."""
        return isinstance(self.default, tuple)

    def read(self, value: Any) -> Any:
        """Return the value that text or a TOML value means.

        Raises:
            ValueError: The value is rejected; the message names what is expected.
        """
        if not self.repeatable:
            return self.about.type.read(value)
        return tuple(map(self.about.type.read, value))

    def write(self, value: Any) -> str:
        """Return `value` as TOML, which `read` reads back."""
        write = self.about.type.write
        return f"[{', '.join(map(write, value))}]" if self.repeatable else write(value)

    def parameter(self) -> Parameter:
        """Return the parameter that Typer makes a flag of."""
        about, is_flag = self.about, self.about.type is FLAG
        shown = "" if self.default in (None, False, ()) else self.write(self.default).strip('"')
        option = typer.Option(
            f"{self.flag}/--{about.off or f'no-{self.key}'}" if is_flag else self.flag,
            envvar=self.variable,
            show_envvar=False,
            metavar=about.type.metavar or None,
            help=f"{about.help} Default: {shown}." if shown else about.help,
            show_default=False,
            rich_help_panel=about.panel,
            parser=lambda value: value,
            callback=_read_option,
        )
        form = bool if is_flag else list[str] if self.repeatable else str
        return _parameter(self.field, Annotated[form, option], self.default)


OPTIONS: Mapping[str, Option] = {
    field.name: Option(field=field.name, about=hint.__metadata__[0], default=field.default)
    for field, hint in zip(
        fields(ServeSettings), typing.get_type_hints(ServeSettings, include_extras=True).values(), strict=True
    )
}
"""Every option by its field's name, in the order of `--help`."""


def parameters() -> Iterable[Parameter]:
    """Yield the parameters of the command `tidings serve`."""
    # Not eager, so that --help works without the file. Declared first, so that click reads it before every option
    # that has no flag on the command line.
    config = typer.Option(
        metavar="FILE",
        envvar=f"{VARIABLE_PREFIX}CONFIG",
        help="TOML file of options.",
        callback=_read_config,
    )
    show = typer.Option("--show-config", help="Print every option and its source, and exit.")
    yield _parameter("config", Annotated[Path | None, config], None)
    yield _parameter("show_config", Annotated[bool, show], False)
    for option in OPTIONS.values():
        yield option.parameter()


def _parameter(name: str, annotation: object, default: object) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_SOURCES = ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP", "DEFAULT")
"""Where a value comes from, by the names of click's `ParameterSource`; an earlier one wins.

By name, because newer versions of Typer contain a copy of click, and older ones use the package.
"""


def _rank(ctx: typer.Context, field: str) -> int:
    return _SOURCES.index(getattr(ctx.get_parameter_source(field), "name", "DEFAULT"))


def _source(ctx: typer.Context, option: Option) -> str:
    names = (option.flag, option.variable, f"{ctx.params.get('config')}, {option.key}", "default")
    return names[_rank(ctx, option.field)]


def _read_option(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    option = OPTIONS[str(param.name)]
    source = _source(ctx, option)
    if option.repeatable and source == option.variable:
        # Read again, because click splits a variable of several values at blanks.
        value = _split(os.environ[option.variable])
    if value is None or source == "default":
        return option.default
    try:
        return option.read(value)
    except ValueError as cause:
        raise ConfigError(
            f"{source}: {cause}",
            option=option.key,
            source=source,
            hint="Run `tidings serve --show-config` to see every option and its source.",
        ) from cause


def _read_config(ctx: typer.Context, file: Path | None) -> Path | None:
    """Make the values of the TOML file the defaults of the other options."""
    if file is None:
        return None
    file = file.expanduser()
    source = str(file)
    table = read_config_file(file)
    ctx.default_map = {}
    for key, value in table.items():
        option = OPTIONS.get(key.replace("-", "_"))
        if option is None:
            raise ConfigError(f"{source}: unknown option {key!r}", option=key, source=source, hint=_nearest(key))
        if option.repeatable and not isinstance(value, list):
            value = _split(value) if isinstance(value, str) else [value]
        ctx.default_map[option.field] = value
    return file


def _split(text: str) -> list[str]:
    return [part for part in map(str.strip, text.split(",")) if part]


def _nearest(key: str) -> str:
    keys = [option.key for option in OPTIONS.values()]
    near = get_close_matches(key.replace("_", "-"), keys, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Options are {', '.join(keys)}."


@dataclass(frozen=True, slots=True)
class ResolvedSettings:
    """The settings, and the name of the source of each by its field."""

    settings: ServeSettings
    sources: Mapping[str, str]

    def format(self) -> str:
        """Return a TOML file with the same settings, each line with its source."""
        lines = []
        for name, option in OPTIONS.items():
            value = getattr(self.settings, name)
            # TOML has no null: an option without a value is shown as a comment.
            written = f"# {option.key} is not set" if value is None else f"{option.key} = {option.write(value)}"
            lines.append((written, self.sources[name]))
        width = max(len(written) for written, _ in lines)
        return "".join(f"{written:{width}}  # {source}\n" for written, source in lines)


def resolve(ctx: typer.Context) -> ResolvedSettings:
    """Return the settings that the arguments, the environment and the file of `ctx` give.

    Raises:
        ConfigError: Options contradict each other.
    """
    values = {name: ctx.params[name] for name in OPTIONS}
    sources = {name: _source(ctx, option) for name, option in OPTIONS.items()}
    data_rank, memory_rank = _rank(ctx, "data"), _rank(ctx, "memory")
    if values["memory"] and values["data"] is not None and data_rank == memory_rank:
        raise ConfigError(
            f"{sources['data']} and {sources['memory']} exclude each other",
            option="memory",
            source=sources["memory"],
            hint="Pass only one of them.",
        )
    # Of --data and --memory, the source with the higher precedence wins.
    if values["memory"] and (values["data"] is None or memory_rank < data_rank):
        values["data"], sources["data"] = None, sources["memory"]
    elif values["memory"]:
        values["memory"], sources["memory"] = False, sources["data"]
    elif values["data"] is None:
        values["data"] = default_folder()
    if values["tls_key"] is not None and values["tls_cert"] is None:
        raise ConfigError(
            f"{sources['tls_key']}: a private key needs its certificate",
            option="tls-key",
            source=sources["tls_key"],
            hint="Pass --tls-cert too, or neither.",
        )
    if (values["license"] is None) != (values["license_public_key"] is None):
        given = "license" if values["license"] is not None else "license_public_key"
        raise ConfigError(
            f"{sources[given]}: a license needs the key that verifies it, and the key a license",
            option=OPTIONS[given].key,
            source=sources[given],
            hint="Pass --license and --license-public-key, or neither.",
        )
    return ResolvedSettings(ServeSettings(**values), sources)


def default_folder() -> Path:
    """Return the data folder of a hub that names none: one per user."""
    return platformdirs.user_data_path("tidings", appauthor=False)


_OTHER_VARIABLES = frozenset({f"{VARIABLE_PREFIX}URL", f"{VARIABLE_PREFIX}CONFIG"})
"""Variables of tidings that are not options of `serve`."""


def misspelt_variables(environ: Mapping[str, str]) -> list[str]:
    """Return a warning for each variable that resembles an option's and sets none."""
    variables = [option.variable for option in OPTIONS.values()]
    warnings = []
    for name in environ:
        if name.startswith(VARIABLE_PREFIX) and name not in variables and name not in _OTHER_VARIABLES:
            near = get_close_matches(name, variables, n=1, cutoff=0.8)
            if near:
                warnings.append(f"unknown variable {name}: did you mean {near[0]}?")
    return warnings
