import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest
from tests.cli.processes import tidings

from tidings.cli.app import load_command
from tidings.cli.serve.options import OPTIONS, ResolvedSettings, default_folder, misspelt_variables, resolve
from tidings.cli.serve.settings import ServeSettings
from tidings.exceptions import ConfigError
from tidings.server.link_templates import LinkTemplate

COMMAND = load_command("serve")

# For each option: a value as text, as TOML, and what both mean.
EXAMPLES: Mapping[str, tuple[str, str, object]] = {
    "host": ("::1", '"::1"', "::1"),
    "port": ("9000", "9000", 9000),
    "workers": ("4", "4", 4),
    "data": ("/a b", '"/a b"', Path("/a b")),
    "memory": ("yes", "true", True),
    "log": ("nats://n1:4222,n2:4222/hubs", '"nats://n1:4222,n2:4222/hubs"', "nats://n1:4222,n2:4222/hubs"),
    "log_credentials": ("hub.creds", '"hub.creds"', Path("hub.creds")),
    "log_ca": ("ca.pem", '"ca.pem"', Path("ca.pem")),
    "retention_events": ("5", "5", 5),
    "retention_bytes": ("64MiB", '"64MiB"', 64 << 20),
    "retention_age": ("36h", '"36h"', 129_600.0),
    "ballast": ("0", "0", 0),
    "ws_path": ("/events", '"/events"', "/events"),
    "compression": ("2KiB", '"2KiB"', 2048),
    "link": (
        "Trace = https://t/{trace_id}?a=b,Runbook=http://w:8080/",
        '["Trace=https://t/{trace_id}?a=b", "Runbook=http://w:8080/"]',
        (
            LinkTemplate(label="Trace", template="https://t/{trace_id}?a=b"),
            LinkTemplate(label="Runbook", template="http://w:8080/"),
        ),
    ),
    "contract": ("shop.events:contract", '"shop.events:contract"', "shop.events:contract"),
    "lenient": ("on", "true", True),
    "tls_cert": ("/c.pem", '"/c.pem"', Path("/c.pem")),
    "tls_key": ("/k.pem", '"/k.pem"', Path("/k.pem")),
    "auth": ("keys,forward", '["keys", "forward"]', ("keys", "forward")),
    "insecure": ("yes", "true", True),
    "auth_cookie": ("__Host-session", '"__Host-session"', "__Host-session"),
    "audit_log": ("/a.jsonl", '"/a.jsonl"', Path("/a.jsonl")),
    "jwt_secret_file": ("/s", '"/s"', Path("/s")),
    "jwt_public_key": ("/p.pem", '"/p.pem"', Path("/p.pem")),
    "jwks_url": ("https://a/jwks", '"https://a/jwks"', "https://a/jwks"),
    "jwt_issuer": ("https://a,b", '["https://a", "b"]', ("https://a", "b")),
    "jwt_audience": ("tidings", '["tidings"]', ("tidings",)),
    "jwt_algorithm": ("ES256,EdDSA", '["ES256", "EdDSA"]', ("ES256", "EdDSA")),
    "jwt_leeway": ("1m", '"1m"', 60.0),
    "jwt_allow_no_expiry": ("yes", "true", True),
    "jwt_subject_claim": ("oid", '"oid"', "oid"),
    "forward_auth_url": ("http://localhost/a", '"http://localhost/a"', "http://localhost/a"),
    "forward_auth_header": (
        "user=X-User, groups=x-a",
        '["user=X-User", "groups=x-a"]',
        ("user=x-user", "groups=x-a"),
    ),
    "sign_in_url": ("/oauth2/start?rd={url}", '"/oauth2/start?rd={url}"', "/oauth2/start?rd={url}"),
    "sign_out_url": ("/oauth2/sign_out", '"/oauth2/sign_out"', "/oauth2/sign_out"),
    "grant_template": ("read data/{sub}", '["read data/{sub}"]', ("read data/{sub}",)),
    "keys": ("/k.jsonl", '"/k.jsonl"', Path("/k.jsonl")),
    "license": ("/l.jwt", '"/l.jwt"', Path("/l.jwt")),
    "license_public_key": ("/l.pub", '"/l.pub"', Path("/l.pub")),
    "license_grace": ("3d", '"3d"', 259_200.0),
    "allow_origin": ("https://a,https://b", '["https://a", "https://b"]', ("https://a", "https://b")),
    "allow_host": ("hub,hub.example.com", '["hub", "hub.example.com"]', ("hub", "hub.example.com")),
    "trusted_proxy": ("10.0.0.0/8,::1", '["10.0.0.0/8", "::1"]', ("10.0.0.0/8", "::1")),
    "root_path": ("/tidings", '"/tidings"', "/tidings"),
    "admin_listen": ("[::1]:9100", '"[::1]:9100"', "[::1]:9100"),
    "max_connections": ("10", "10", 10),
    "connections_of_address": ("11", "11", 11),
    "connections_of_subject": ("12", "12", 12),
    "events_per_s": ("13", "13", 13),
    "commands_per_s": ("14", "14", 14),
    "subject_events_per_s": ("15", "15", 15),
    "subject_commands_per_s": ("16", "16", 16),
    "posted_events_per_s": ("17", "17", 17),
    "paths_of_connection": ("18", "18", 18),
    "heartbeat": ("10s", '"10s"', 10.0),
    "lease": ("45s", '"45s"', 45.0),
    "unattended": ("12h", '"12h"', 43_200.0),
    "reconnect_rate": ("50", "50", 50),
    "grace": ("500ms", '"500ms"', 0.5),
    "log_format": ("JSON", '"json"', "json"),
    "log_level": ("debug", '"debug"', "debug"),
}
# For each option: text that it refuses.
WRONG: Mapping[str, str] = {
    "port": "65536",
    "workers": "0",
    "memory": "maybe",
    "retention_events": "0",
    "retention_bytes": "lots",
    "retention_age": "500ms",
    "ballast": "-1",
    "ws_path": "ws",
    "compression": "64B",
    "link": "Trace=ftp://traces",
    "lenient": "kindly",
    "root_path": "tidings",
    "admin_listen": "9100",
    "max_connections": "many",
    "connections_of_address": "-1",
    "connections_of_subject": "-1",
    "events_per_s": "fast",
    "commands_per_s": "-1",
    "subject_events_per_s": "1.5",
    "subject_commands_per_s": "-1",
    "posted_events_per_s": "-1",
    "paths_of_connection": "0",
    "forward_auth_header": "X-User",
    "reconnect_rate": "0",
    "auth": "keyz",
    "jwt_leeway": "1h",
    "heartbeat": "0",
    "license_grace": "soon",
    "lease": "500ms",
    "unattended": "never",
    "grace": "2h",
    "log_format": "xml",
    "log_level": "loud",
}


def settle(
    flags: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    toml: Path | None = None,
) -> ResolvedSettings:
    """Return what `tidings serve` makes of these flags (by field), variables and file.

    A text with commas becomes a repeated flag, where the option has several values.
    """
    arguments = [] if toml is None else ["--config", str(toml)]
    for field, text in (flags or {}).items():
        option = OPTIONS[field]
        if isinstance(option.default, bool):
            arguments.append(option.flag)
        else:
            for part in text.split(",") if option.repeatable else [text]:
                arguments += [option.flag, part]
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TIDINGS_")]:
            patch.delenv(name)
        for name, text in (environ or {}).items():
            patch.setenv(name, text)
        with COMMAND.make_context("serve", arguments) as ctx:
            return resolve(ctx)


def write(folder: Path, text: str) -> Path:
    file = folder / "hub.toml"
    file.write_text(text)
    return file


def needed(field: str) -> dict[str, str]:
    others = {
        "tls_key": {"TIDINGS_TLS_CERT": "/c.pem"},
        "license": {"TIDINGS_LICENSE_PUBLIC_KEY": "/l.pub"},
        "license_public_key": {"TIDINGS_LICENSE": "/l.jwt"},
    }
    return others.get(field, {})


def test_every_option_has_an_example() -> None:
    assert set(EXAMPLES) == set(OPTIONS) == {field.name for field in fields(ServeSettings)}


@pytest.mark.parametrize("field", EXAMPLES)
def test_an_option_is_a_flag_a_variable_and_a_toml_key(field: str, tmp_path: Path) -> None:
    text, toml, value = EXAMPLES[field]
    option = OPTIONS[field]
    file = write(tmp_path, f"{option.key} = {toml}")
    ways = {
        option.flag: settle({field: text}, needed(field)),
        option.variable: settle(environ={option.variable: text, **needed(field)}),
        f"{file}, {option.key}": settle(environ=needed(field), toml=file),
    }
    for source, resolved in ways.items():
        assert getattr(resolved.settings, field) == value
        assert resolved.sources[field] == source


def test_a_flag_overrides_a_variable_and_a_variable_overrides_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, 'port = 1\nhost = "10.0.0.1"\nheartbeat = "5s"')
    environ = {"TIDINGS_PORT": "2", "TIDINGS_HOST": "10.0.0.2"}
    resolved = settle({"port": "3"}, environ, file)
    assert (resolved.settings.port, resolved.settings.host, resolved.settings.heartbeat) == (3, "10.0.0.2", 5.0)
    assert resolved.sources["grace"] == "default"


def test_underscores_in_keys_of_the_file_are_accepted(tmp_path: Path) -> None:
    assert settle(toml=write(tmp_path, "ws_path = '/x'")).settings.ws_path == "/x"


def test_an_empty_variable_is_ignored() -> None:
    assert settle(environ={"TIDINGS_PORT": ""}).settings.port == 8765


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("https://a https://b", ("https://a https://b",)),
        (" a , b c,,", ("a", "b c")),
        (" ", ()),
    ],
)
def test_a_variable_of_several_values_is_split_at_commas(text: str, origins: tuple[str, ...], tmp_path: Path) -> None:
    resolved = settle(environ={"TIDINGS_ALLOW_ORIGIN": text}, toml=write(tmp_path, 'allow-origin = ["c"]'))
    assert (resolved.settings.allow_origin, resolved.sources["allow_origin"]) == (origins, "TIDINGS_ALLOW_ORIGIN")


@pytest.mark.parametrize(
    ("toml", "size"), [('"off"', 0), ("false", 0), ("0", 0), ('"on"', 512), ("true", 512), ('"1MiB"', 1 << 20)]
)
def test_compression_is_a_size_or_off(toml: str, size: int, tmp_path: Path) -> None:
    resolved = settle(toml=write(tmp_path, f"compression = {toml}"))
    assert resolved.settings.compression == size
    assert settle(toml=write(tmp_path, resolved.format())).settings == resolved.settings


def test_a_repeated_flag_keeps_commas_and_blanks() -> None:
    arguments = ["--allow-origin", "a,b", "--allow-origin", " c "]
    with COMMAND.make_context("serve", arguments) as ctx:
        assert resolve(ctx).settings.allow_origin == ("a,b", " c ")


@pytest.mark.parametrize(
    ("toml", "origins"),
    [('["a,b", " c "]', ("a,b", " c ")), ('"a, b"', ("a", "b")), ('""', ()), ("[]", ())],
)
def test_a_toml_array_keeps_commas_and_text_does_not(toml: str, origins: tuple[str, ...], tmp_path: Path) -> None:
    assert settle(toml=write(tmp_path, f"allow-origin = {toml}")).settings.allow_origin == origins


def test_an_empty_flag_of_several_values_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^--allow-origin: invalid text '': expected") as caught:
        settle({"allow_origin": "https://a,"})
    assert (caught.value.option, caught.value.source) == ("allow-origin", "--allow-origin")


@pytest.mark.parametrize("field", WRONG)
def test_an_invalid_value_names_its_source_with_a_hint(field: str) -> None:
    option = OPTIONS[field]
    wrong = rf"invalid \w+ '{WRONG[field]}': (expected|use) "
    with pytest.raises(ConfigError, match=f"^{option.variable}: {wrong}") as caught:
        settle(environ={option.variable: WRONG[field]})
    assert caught.value.hint
    if not isinstance(option.default, bool):  # such a flag has no value that could be wrong
        with pytest.raises(ConfigError, match=f"^{option.flag}: {wrong}"):
            settle({field: WRONG[field]})


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("prot = 1", "unknown option 'prot'"),
        ("port = ", "invalid TOML in "),
        ("port = true", "invalid number True: expected an integer from 0 to 65535"),
        ("heartbeat = []", r"invalid duration \[\]: expected"),
        ("retention-bytes = 1.5", "invalid size 1.5: expected"),
        ("retention-bytes = '1048577TiB'", "invalid size '1048577TiB': expected at most 1048576TiB"),
        ("ballast = '1048577TiB'", "invalid size '1048577TiB': expected at most 1048576TiB"),
        ("retention-events = 1000000000001", "expected an integer from 1 to 1000000000000"),
        ("retention-bytes = 65536", "invalid size 65536: expected text with a unit"),
        ("retention-age = 7", "invalid duration 7: expected text with a unit"),
        ('retention-age = "7"', "invalid duration '7': expected a number with a unit"),
        ("allow-origin = 5", "invalid text 5: expected"),
        ("allow-origin = ['']", r"hub\.toml, allow-origin: invalid text '': expected"),
        ("link = [5]", "invalid link 5: expected LABEL=TEMPLATE"),
        ("memory = 'x'", "invalid value 'x': expected true or false"),
        ("data = 5", "invalid path 5: expected text"),
        ("[hub]\nport = 1", "unknown option 'hub'"),
    ],
)
def test_an_invalid_file_is_named_in_the_error(toml: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        settle(toml=write(tmp_path, toml))
    assert str(tmp_path) in str(caught.value)
    assert caught.value.hint


def test_an_unknown_key_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        settle(toml=write(tmp_path, "retention_evnts = 1"))
    assert caught.value.hint == "Did you mean 'retention-events'?"


def test_a_missing_file_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        settle(toml=tmp_path / "none.toml")


@pytest.mark.parametrize("arguments", [("--config", "none.toml", "--help"), ("--help", "--config", "none.toml")])
def test_help_is_printed_without_the_file(arguments: tuple[str, ...]) -> None:
    done = tidings("serve", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--allow-origin" in done.stdout


def test_a_file_named_by_a_variable_or_a_later_flag_is_read(tmp_path: Path) -> None:
    file = write(tmp_path, 'port = 1\nhost = "10.0.0.1"')
    for arguments in (["--port", "3", "--config", str(file)], ["--port", "3"]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TIDINGS_CONFIG", str(file))
            with COMMAND.make_context("serve", arguments) as ctx:
                resolved = resolve(ctx)
        assert (resolved.settings.port, resolved.settings.host) == (3, "10.0.0.1")
        assert resolved.sources["host"] == f"{file}, host"


def test_the_data_folder_has_a_default_unless_in_memory() -> None:
    assert settle().settings.data == default_folder()
    assert settle({"memory": "yes"}).settings.data is None


def test_data_or_memory_of_the_higher_source_wins() -> None:
    assert settle({"memory": "yes"}, {"TIDINGS_DATA": "/d"}).settings.data is None
    resolved = settle({"data": "/d"}, {"TIDINGS_MEMORY": "1"})
    assert (resolved.settings.data, resolved.settings.memory) == (Path("/d"), False)
    with pytest.raises(ConfigError, match="--data and --memory exclude each other"):
        settle({"data": "/d", "memory": "yes"})


def test_a_key_without_a_certificate_is_refused() -> None:
    with pytest.raises(ConfigError, match="TIDINGS_TLS_KEY: a private key needs its certificate"):
        settle(environ={"TIDINGS_TLS_KEY": "/k.pem"})


def test_the_shown_configuration_reads_back_the_same(tmp_path: Path) -> None:
    environ = {OPTIONS[field].variable: text for field, (text, _, _) in EXAMPLES.items() if field != "memory"}
    resolved = settle({"host": 'a "quoted"\\ name\x7f'}, environ)
    shown = resolved.format()
    again = settle(toml=write(tmp_path, shown))
    assert again.settings == resolved.settings
    assert len(tomllib.loads(shown)) == len(OPTIONS)
    for line, field in zip(shown.splitlines(), OPTIONS, strict=True):
        assert line.endswith(f"# {resolved.sources[field]}")


def test_the_shown_configuration_hides_the_password_of_the_journal() -> None:
    for user in ("ada:s3cret", ":s3cret"):
        shown = settle(environ={"TIDINGS_LOG": f"postgresql://{user}@db:5432/hubs"}).format()
        assert "s3cret" not in shown
        assert ":***@db:5432/hubs" in shown


def test_a_misspelt_variable_has_a_warning() -> None:
    environ = {"TIDINGS_PROT": "1", "TIDINGS_URL": "ws://x", "TIDINGS_FAVOURITE_COLOUR": "red", "PATH": "/bin"}
    assert misspelt_variables(environ) == ["unknown variable TIDINGS_PROT: did you mean TIDINGS_PORT?"]
