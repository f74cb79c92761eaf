"""The settings of `tidings serve`, each with its type, its help and its default: a table of all options."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tidings.access.key_file import KEY_FILE
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
from tidings.hub.config import DEFAULT_LICENSE_GRACE_S, HubConfig
from tidings.log.base import Retention
from tidings.log.sqlite.log import DEFAULT_BALLAST_BYTES
from tidings.server.link_templates import LinkTemplate
from tidings.server.websocket.deflate import DEFAULT_COMPRESSION_BYTES

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
