"""How commands and groups look: plain help with the same layout under every Typer, and hints for unknown names.

Every command that connects to a hub gets the options of the connection here, so that they are the same everywhere.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from tidings.cli.errors import USAGE, ExitCode, exit_codes_epilog, print_stderr
from tidings.client.network import CA_VARIABLE, make_tls_context
from tidings.client.tokens import PLAINTEXT_VARIABLE, TOKEN_FILE_VARIABLE, TOKEN_VARIABLE
from tidings.exceptions import ConfigError
from tidings.printable import decode_argument


class _PlainHelp:
    """Formats a command's usage line and options itself, because Typer's versions differ in both."""

    params: list[Any]

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the arguments and options, which take texts as they are."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            _keep_texts(param)
        return params

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line: `[OPTIONS]`, `ID`, `[MESSAGE]`."""
        pieces = ["[OPTIONS]"]
        for param in self.params:
            if _is_argument(param):
                name = _argument_name(param)
                pieces.append(name if param.required else f"[{name}]")
        return pieces

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for the arguments, and one for each panel of options."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                default = "Arguments" if _is_argument(param) else "Options"
                heading = getattr(param, "rich_help_panel", None) or default
                name = _argument_name(param) if _is_argument(param) else _option_name(param)
                sections.setdefault(heading, []).append((name, record[1].removesuffix("  [required]")))
        for heading in sorted(sections, key=lambda each: (each != "Arguments", each != "Options")):
            with formatter.section(heading):
                formatter.write_dl(sections[heading])


def _is_argument(param: Any) -> bool:
    return str(param.param_type_name) == "argument"


def _argument_name(param: Any) -> str:
    return f"{param.metavar or param.name.upper()}{'...' if param.nargs != 1 else ''}"


def _option_name(option: Any) -> str:
    names = ", ".join(sorted(option.opts, key=len))
    if option.is_flag:
        return " / ".join([names, *option.secondary_opts])
    return f"{names} {option.metavar or ''}".rstrip()


class PlainCommand(_PlainHelp, TyperCommand):
    """One command; one that connects to a hub also takes `--ca`, `--token-file` and `--allow-plaintext-token`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        connects = self.name in _WITH_URL_ARGUMENT or any("--url" in param.opts for param in self.params)
        if not self.epilog and "Exit codes:" not in (self.help or ""):
            self.epilog = exit_codes_epilog(*([ExitCode.NO_HUB] if connects else []))
        if connects:
            for option in _connection_options():
                if self.name == "login" and option.name == "token_file":
                    continue
                option.expose_value = False
                self.params.append(option)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line; `--url` may stand before the URL wherever another command needs it."""
        if self.name in _WITH_URL_ARGUMENT:
            args = [each.removeprefix("--url=") for each in args if each != "--url"]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, with text in UTF-8 whatever the locale; file names and commands stay as they are."""
        for param in self.params:
            if param.name in ctx.params and param.metavar not in _BYTES_METAVARS:
                ctx.params[param.name] = _decode(ctx.params[param.name])
        return super().invoke(ctx)


_WITH_URL_ARGUMENT = frozenset({"doctor", "login", "whoami"})
"""Commands that connect to a hub, whose URL is an argument."""
_BYTES_METAVARS = frozenset({"FILE", "DIR", "FILE|DIR", "RECORDING", "COMMAND"})
"""Arguments that the system reads back as bytes."""


def _decode(value: Any) -> Any:
    if type(value) is str:  # no member of an enumeration
        return value if value.startswith("@") else decode_argument(value)  # @ is before the name of a file
    return [_decode(each) for each in value] if isinstance(value, list | tuple) else value


class _KeptTexts:
    """Takes texts for a parameter of text as they are, and lets Typer convert everything else.

    Typer converts every value with pydantic, whose import takes half of the time in which a command starts. Nearly all
    of our parameters are texts, which the commands read themselves.

    Args:
        build: Returns Typer's own conversion.
    """

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value for the command."""
        form, repeated = param.type_descriptor.annotation, param.multiple or param.nargs == -1
        if value is None:
            return () if repeated else None
        if form is str or type(value) is form:
            return value
        if form == list[str] and not isinstance(value, str):
            return list(value)
        return self._build().coerce(value, param=param, ctx=ctx)


def _keep_texts(param: Any) -> None:
    # Typer's newer versions have it; with another one, Typer converts all values.
    build = getattr(param, "get_runtime_param", None)
    if build is not None and "get_runtime_param" not in vars(param):
        param.get_runtime_param = lambda: _KeptTexts(build)


def _connection_options() -> list[Any]:
    """Return the options of a connection as Typer makes options, which its versions do differently."""
    single = typer.Typer(add_completion=False)

    @single.command()
    def holder(
        ca: Annotated[
            str | None,
            typer.Option(
                "--ca",
                metavar="FILE",
                envvar=CA_VARIABLE,
                callback=_trust,
                help="PEM file of an authority to trust besides the system's.",
                show_default=False,
            ),
        ] = None,
        token_file: Annotated[
            str | None,
            typer.Option(
                "--token-file",
                metavar="FILE",
                callback=_use_token_file,
                help=f"File with the token for the hub. Default: {TOKEN_VARIABLE}, else the file at "
                f"{TOKEN_FILE_VARIABLE}, else what `tidings login` stored.",
                show_default=False,
            ),
        ] = None,
        plaintext: Annotated[
            bool,
            typer.Option(
                "--allow-plaintext-token",
                callback=_allow_plaintext,
                help="Send the token over ws:// to another machine, too.",
            ),
        ] = False,
        token: Annotated[
            str | None, typer.Option("--token", metavar="TOKEN", callback=_refuse_token, hidden=True)
        ] = None,
    ) -> None:
        """Hold the options."""

    return [param for param in cast(Any, typer.main.get_command(single)).params if param.name != "help"]


def _trust(path: str | None) -> str | None:
    """Make every connection of this process, and those of its children, trust the authorities in a file."""
    if path and path != os.environ.get(CA_VARIABLE):
        os.environ[CA_VARIABLE] = path
        make_tls_context()  # an invalid variable must not stop `tidings run`, which then reports it
    return path


def _use_token_file(path: str | None) -> str | None:
    """Take the token of every connection of this process from a file."""
    if path:
        os.environ.pop(TOKEN_VARIABLE, None)
        os.environ[TOKEN_FILE_VARIABLE] = path
    return path


def _allow_plaintext(allowed: bool) -> bool:
    if allowed:
        os.environ[PLAINTEXT_VARIABLE] = "1"
    return allowed


def _refuse_token(token: str | None) -> str | None:
    if token is not None:
        raise ConfigError(
            "a token on the command line is visible to all users of the machine",
            option="token",
            source="argument",
            hint=f"Set {TOKEN_VARIABLE}, pass --token-file FILE, or run `tidings login`.",
        )
    return token


class PlainGroup(_PlainHelp, TyperGroup):
    """A group of commands; without a command it prints its help."""

    guesses: Mapping[str, str] = {}
    """Names that people try, such as `list`, with what they look for, such as `ls`."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line."""
        return ["COMMAND", "[ARGUMENTS]..."]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands with the first line of their help, then the options."""
        commands = [(name, cast(Any, self.get_command(ctx, name))) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, (command.help or "").partition("\n")[0]) for name, command in commands])
        super().format_options(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; without any, print the help on stderr and exit with 2.

        `help COMMAND` is `COMMAND --help`, as in git, docker and kubectl.
        """
        if args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        if not args and not ctx.resilient_parsing:
            print_stderr(ctx.get_help())
            raise typer.Exit(USAGE)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the arguments name.

        Raises:
            ConfigError: No command has this name; the hint names the nearest one.
        """
        name = args[0]
        if name.startswith("-") or ctx.resilient_parsing or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        path = "tidings" if ctx.parent is None else f"tidings {ctx.info_name}"
        nearest = self._nearest(args, self.list_commands(ctx))
        raise ConfigError(
            f"no such command: '{path} {name}'",
            option=name,
            source="the command line",
            hint=f"Run `{path} {nearest}`." if nearest else f"Run `{path} --help` to list the commands.",
        )

    def _nearest(self, args: list[str], commands: list[str]) -> str | None:
        for guess in (" ".join(args[:2]), args[0]):
            if guess in self.guesses:
                return self.guesses[guess]
        close = get_close_matches(args[0], [*commands, *self.guesses], n=1)
        return self.guesses.get(close[0], close[0]) if close else None


def make_group(name: str, help: str, tried: Mapping[str, Sequence[str]] | None = None) -> typer.Typer:
    """Return the application of a group of commands, such as `tidings key`.

    Args:
        name: Name of the group.
        help: Its help.
        tried: Commands of the group, each with the names under which people look for it.
    """
    guesses = {guess: command for command, names in (tried or {}).items() for guess in names}
    group = type("Group", (PlainGroup,), {"guesses": guesses})
    return typer.Typer(name=name, cls=group, rich_markup_mode=None, add_completion=False, help=help)
