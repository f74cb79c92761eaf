"""The TOML file of `tidings serve --config`: options by name, and a table `[grants]` of templates."""

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from tidings.access.private_files import open_at_once
from tidings.exceptions import ConfigError

_ACTIONS = ("read", "publish", "cancel", "details", "admin")


def read_config_file(file: Path, *, again: bool = False) -> dict[str, Any]:
    """Return the options in a file; the templates in `[grants]` are added to `grant-template`.

    Args:
        file: The file.
        again: Whether a running hub reads it again: then it must be a regular file, because nothing may block the hub.

    Raises:
        ConfigError: The file cannot be read, is not TOML, or its grants have another form.
    """
    source = str(file)
    try:
        with open(file, encoding="utf-8", opener=open_at_once if again else None) as opened:
            if again and not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise ConfigError(
                    f"cannot read {source} again: expected a regular file",
                    option="config",
                    source=source,
                    hint="Store the options in a file: the hub reads it again when it receives SIGHUP.",
                )
            table = tomllib.loads(opened.read())
    except OSError as cause:
        raise ConfigError(
            f"cannot read {source}: {cause.strerror or cause}", option="config", source=source, hint="Check --config."
        ) from cause
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as cause:
        raise ConfigError(
            f"invalid TOML in {source}: {cause}", option="config", source=source, hint="Write lines like port = 8765."
        ) from cause
    grants = table.pop("grants", None)
    if grants is not None:
        name = "grant_template" if "grant_template" in table else "grant-template"
        own = table.get(name, [])
        table[name] = [*(own if isinstance(own, list) else [own]), *_read_grants(grants, source)]
    return table


def _read_grants(table: Any, source: str) -> list[str]:
    """Return the templates in a table `[grants]`: by action, one or a list, such as `read = "operations/{sub}.*"`.

    Raises:
        ConfigError: It has another form.
    """
    templates = []
    for action, values in table.items() if isinstance(table, dict) else [("", None)]:
        each = values if isinstance(values, list) else [values]
        if action not in _ACTIONS or not all(isinstance(value, str) for value in each):
            raise ConfigError(
                f"{source}: invalid [grants] {action!r}: expected {', '.join(_ACTIONS)}, each with text or a list",
                option="grants",
                source=source,
                hint='Write lines like read = "operations/{sub}.*" or admin = "if groups=operators".',
            )
        templates += [f"{action} {value}" for value in each]
    return templates
