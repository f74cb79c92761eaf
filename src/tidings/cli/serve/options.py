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

from tidings.cli.serve.config_file import read_config_file
from tidings.cli.serve.option_types import FLAG
from tidings.cli.serve.settings import About, ServeSettings
from tidings.exceptions import ConfigError

VARIABLE_PREFIX = "TIDINGS_"


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


READ_AGAIN = "read again"
"""The `obj` of a context in which a running hub reads its options again."""

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
    table = read_config_file(file, again=ctx.obj == READ_AGAIN)
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
