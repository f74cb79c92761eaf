"""Links from the page of an operation to other systems: a trace viewer, a log search, a runbook.

The page fills in the templates; its own have the same placeholders and the same form
(`dashboard/src/pages/operation/link-templates.ts`).
"""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from tidings.exceptions import ConfigError

PLACEHOLDERS: Final = (
    "operation_id",
    "name",
    "trace_id",
    "host",
    "producer_id",
    "state",
    "attempt",
    "started_ms",
    "ended_ms",
    "code",
)
"""Members of an operation that may stand in braces; `…_ms` are milliseconds since 1970."""
MAX_LINKS: Final = 20
MAX_LABEL_CHARS: Final = 60
MAX_TEMPLATE_CHARS: Final = 4_000
_BRACES: Final = re.compile(r"\{(\w*)\}", re.ASCII)
_HOST: Final = re.compile(r"[\w.-]+|[0-9a-f:.]+")


class LinkTemplate(Struct, frozen=True, kw_only=True):
    """A link of every operation.

    Raises:
        ConfigError: The label or the template is not valid.
    """

    label: str
    """Text of the link."""
    template: str
    """Address (http or https) with placeholders such as `{trace_id}`, each for a percent-encoded value."""

    def __post_init__(self) -> None:
        expected = _check_label(self.label) or _check_template(self.template)
        if expected:
            raise _invalid(str(self), expected)

    def __str__(self) -> str:
        return f"{self.label}={self.template}"


def parse_link(text: str) -> LinkTemplate:
    """Return the link that `LABEL=TEMPLATE` describes; blanks around either do not count.

    Raises:
        ConfigError: It is not valid.
    """
    label, equals, template = text.partition("=")
    if not equals:
        raise _invalid(text, "LABEL=TEMPLATE")
    return LinkTemplate(label=label.strip(), template=template.strip())


def check_links(links: Iterable[LinkTemplate]) -> list[LinkTemplate]:
    """Return the links of a hub, in their order.

    Raises:
        ConfigError: There are more than `MAX_LINKS`, or two with one label.
    """
    checked = list(links)
    if len(checked) > MAX_LINKS:
        raise ConfigError(
            f"{len(checked)} links: expected at most {MAX_LINKS}",
            option="link",
            hint="Remove some of --link; a person can add links of their own on the page of an operation.",
        )
    labels: set[str] = set()
    for link in checked:
        if link.label in labels:
            raise ConfigError(
                f"two links have the label {link.label!r}", option="link", hint="Give each --link a label of its own."
            )
        labels.add(link.label)
    return checked


def _invalid(text: str, expected: str) -> ConfigError:
    return ConfigError(
        f"invalid link {text[:80]!r}: expected {expected}",
        option="link",
        hint="Write it as in --link 'Trace=https://traces.example.com/{trace_id}'.",
    )


def _check_label(label: str) -> str:
    """Return what is expected of a label that is not valid; "" if it is."""
    if not label:
        return "LABEL=TEMPLATE"
    is_valid = label == label.strip() and label.isprintable() and "=" not in label and len(label) <= MAX_LABEL_CHARS
    return "" if is_valid else f"a label of at most {MAX_LABEL_CHARS} printable characters, without '='"


def _check_template(template: str) -> str:
    """Return what is expected of a template that is not valid; "" if it is."""
    unknown = [f"{{{name}}}" for name in _BRACES.findall(template) if name not in PLACEHOLDERS]
    if unknown:
        return f"a known placeholder in place of {unknown[0]}: {', '.join(f'{{{name}}}' for name in PLACEHOLDERS)}"
    if len(template) > MAX_TEMPLATE_CHARS:
        return f"an address of at most {MAX_TEMPLATE_CHARS:,} characters"
    if not template.isprintable() or " " in template or "\\" in template:
        return "an address without blanks and backslashes (write a blank as %20)"
    return "" if _is_web_address(_BRACES.sub("x", template)) else "an address that begins with https:// or http://"


def _is_web_address(url: str) -> bool:
    """Return whether a link to `url` leads to a host of the web, and not to a script or a file."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError if it is not a number of a port
    except ValueError:
        return False
    host = parts.hostname or ""
    return parts.scheme in ("https", "http") and "@" not in parts.netloc and _HOST.fullmatch(host) is not None
