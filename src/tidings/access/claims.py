"""Grants from the claims of a token (docs/access.md, "Grants from claims").

The issuer may write grants into a claim (`tidings`). Or the hub has templates, which take values from any claims::

    read operations/{sub}.*                          the value of a claim
    publish data/{realm_access.roles}-*              one grant for each element of a list, in a nested claim
    read operations/{email}/*                        a separator that no value contains
    admin if realm_access.roles=hub-admin            only if the claim has the value, or a list contains it

A value never widens a grant. It is not used, and gives no grant, if it is empty or contains `*`, `/`, a character that
is not printable, or the character that follows the placeholder: otherwise `ada` could read what `ada.x` publishes under
`{sub}.*`. `{+claim}` allows `/` and that character (as in RFC 6570 §3.2.3), for values such as `acme.eu` that are meant
to be below `acme`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, product
from typing import Any, Final

from msgspec import Struct

from tidings.access.grants import ADMIN, CANCEL, DETAILS, MAX_GRANTS, PUBLISH, READ, Grants
from tidings.exceptions import ConfigError, InvalidGrant

DEFAULT_GRANTS_CLAIM: Final = "tidings"
_PLACEHOLDER = re.compile(r"\{(\+?)([^{}]+)\}")
_IF: Final = " if "
_MAX_DEPTH: Final = 10
"""Depth of nested claims."""
_LISTS_IN_TEXT: Final = ("scope", "scp")
"""Claims whose text is a list of words (RFC 8693 §4.2)."""
_EXPECTED: Final = (
    "Write a grant in which `{claim}` stands for the value of a claim, such as `read operations/{sub}.*`; "
    "a condition follows as `if CLAIM=VALUE`."
)


def list_values(claims: Mapping[str, Any], claim: str) -> Iterator[str]:
    """Yield the values of a claim as text: each element of a list, numbers in decimals, `true` and `false`.

    Args:
        claims: The claims of a token.
        claim: The name of a claim, or a path with dots into nested ones. A name may itself contain dots.
    """
    for value in _find(claims, claim, _MAX_DEPTH):
        if isinstance(value, str) and claim in _LISTS_IN_TEXT:
            yield from value.split()
            continue
        for each in value if isinstance(value, list) else (value,):
            if isinstance(each, bool):
                yield "true" if each else "false"
            elif isinstance(each, str | int):
                yield str(each)


def _find(value: Any, path: str, depth: int) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            if isinstance(each, dict):
                yield from _find(each, path, depth)
        return
    if not isinstance(value, Mapping) or not depth:
        return
    if path in value:
        yield value[path]
        return
    dot = path.rfind(".")
    while dot > 0:  # the longest name first: names such as https://example.com/roles contain dots
        if (head := path[:dot]) in value:
            yield from _find(value[head], path[dot + 1 :], depth - 1)
            return
        dot = path.rfind(".", 0, dot)


class _Placeholder(Struct, frozen=True):
    claim: str
    refused: str
    """Characters that a value must not contain."""


class _Refusal(Struct, frozen=True):
    claim: str
    reason: str


class GrantTemplate:
    """One template of grants.

    Args:
        text: See the module.
        option: Name of the option that contains it, for errors.

    Raises:
        ConfigError: `text` is not a template.
    """

    def __init__(self, text: str, *, option: str = "grants") -> None:
        self.text = text.strip()
        self._option = option
        grant, _, condition = self.text.rpartition(_IF) if _IF in self.text else (self.text, "", "")
        self._claim, equals, self._value = (part.strip() for part in condition.partition("="))
        if condition and not (self._claim and equals and self._value):
            raise self._invalid("the condition is not `if CLAIM=VALUE`")
        self._action, _, path = grant.strip().partition(" ")
        path, self._types = _split_types(self._action, path.strip())
        self._pieces = self._parse_path(path)
        sample = "".join(piece if isinstance(piece, str) else "x" for piece in self._pieces)
        try:
            Grants.parse([self._write(sample)], ())
        except InvalidGrant as cause:
            raise self._invalid("it is not a grant") from cause

    def _invalid(self, reason: str) -> ConfigError:
        return ConfigError(
            f"invalid template of grants {self.text[:120]!r}: {reason}", option=self._option, hint=_EXPECTED
        )

    def _parse_path(self, path: str) -> list[str | _Placeholder]:
        pieces: list[str | _Placeholder] = []
        end = 0
        for match in _PLACEHOLDER.finditer(path):
            pieces.append(path[end : match.start()])
            end = match.end()
            follows = path[end : end + 1]
            if follows in ("*", "{"):
                raise self._invalid(f"a separator is missing between {match[0]} and {follows!r}")
            in_channel = "/" not in path[: match.start()]
            allows_more = bool(match[1]) and not in_channel
            pieces.append(_Placeholder(match[2].strip(), "*" if allows_more else f"*/{' ' * in_channel}{follows}"))
        pieces.append(path[end:])
        if any(brace in piece for piece in pieces if isinstance(piece, str) for brace in "{}"):
            raise self._invalid("a brace is not closed or not opened")
        if any(brace in self._types for brace in "{}"):
            raise self._invalid("a claim cannot stand for types")
        return pieces

    def _write(self, path: str) -> str:
        return " ".join(part for part in (self._action, path, self._types) if part)

    def expand(self, claims: Mapping[str, Any], refusals: list[str] | None = None) -> Iterator[str]:
        """Yield the grants for `claims`; the reasons why values are not used are added to `refusals`."""
        if self._claim and self._value not in list_values(claims, self._claim):
            if refusals is not None:
                refusals.append(f"`{self._claim}` is not, and does not contain, {self._value!r}")
            return
        choices = []
        for piece in self._pieces:
            if isinstance(piece, str):
                choices.append([piece])
                continue
            usable = []
            for value in list_values(claims, piece.claim):
                reason = _find_reason(value, piece.refused)
                if not reason:
                    usable.append(value)
                elif refusals is not None:
                    refusals.append(f"a value of `{piece.claim}` {reason}")
            if not usable and refusals is not None:
                refusals.append(f"`{piece.claim}` has no value that can be used")
            choices.append(list(dict.fromkeys(usable)))
        for chosen in product(*choices):
            path = "".join(chosen)
            grant = self._write(path)
            if self._is_as_meant(path, grant):
                yield grant
            elif refusals is not None:
                refusals.append("the path of a grant is longer than allowed")

    def _is_as_meant(self, path: str, grant: str) -> bool:
        """Return whether `grant` is read as this template means it: a value with a blank and a colon is not a type."""
        if self._action == PUBLISH and _split_types(PUBLISH, path)[1]:
            return False
        try:
            Grants.parse([grant], ())
        except InvalidGrant:
            return False
        return True


def _split_types(action: str, rest: str) -> tuple[str, str]:
    path, _, types = rest.rpartition(" ")
    if action == PUBLISH and path and (types == "*" or ":" in types):
        return path.strip(), types
    return rest, ""


def _find_reason(value: str, refused: str) -> str:
    if not value:
        return "is empty"
    if not value.isprintable():
        return "contains a character that is not printable"
    if value != value.strip():
        return "begins or ends with a blank"
    found = next((character for character in refused if character in value), "")
    return f"contains {found!r}" if found else ""


class GrantRules:
    """The rules by which claims become grants: those in one claim, and those of templates.

    Args:
        channels: The channels of the hub's contract.
        templates: See the module.
        grants_claim: Claim in which the issuer writes grants: a list of grants, or an object such as
            `{"read": ["operations/acme.*"], "admin": true}`. "" ignores it.
        option: Name of the option with the templates, for errors.

    Raises:
        ConfigError: One of `templates` is not valid.
    """

    def __init__(
        self,
        channels: Iterable[str],
        *,
        templates: Iterable[str] = (),
        grants_claim: str = DEFAULT_GRANTS_CLAIM,
        option: str = "grants",
    ) -> None:
        self._channels = tuple(channels)
        self._templates = [GrantTemplate(text, option=option) for text in templates]
        self._grants_claim = grants_claim

    def grants_of(self, claims: Mapping[str, Any]) -> Grants:
        """Return the grants of a token.

        Raises:
            InvalidGrant: The claim with grants is not valid, or there are too many grants.
        """
        texts = list(self._claimed(claims))
        for template in self._templates:
            texts += islice(template.expand(claims), MAX_GRANTS + 1)
            if len(texts) > MAX_GRANTS:
                raise InvalidGrant(
                    f"the claims of the token give more than {MAX_GRANTS:,} grants",
                    hint="Grant prefixes or whole channels.",
                )
        try:
            return Grants.parse(texts, self._channels)
        except InvalidGrant:
            raise self._invalid() from None  # the error shows the grant, which is a part of the token

    def explain(self, claims: Mapping[str, Any]) -> list[str]:
        """Return a line for each template that gives no grant, or does not use a value, with the reasons."""
        lines = []
        for template in self._templates:
            refusals: list[str] = []
            for _ in islice(template.expand(claims, refusals), MAX_GRANTS):
                pass
            if refusals:
                lines.append(f"{template.text}: {'; '.join(dict.fromkeys(refusals))}")
        return lines

    def _claimed(self, claims: Mapping[str, Any]) -> Iterator[str]:
        claimed = claims.get(self._grants_claim) if self._grants_claim else None
        if claimed is None:
            return
        if isinstance(claimed, dict):
            for action, value in claimed.items():
                yield from self._claimed_action(action, value)
            return
        listed = [claimed] if isinstance(claimed, str) else claimed
        if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
            raise self._invalid()
        yield from islice(listed, MAX_GRANTS + 1)

    def _claimed_action(self, action: str, value: Any) -> Iterator[str]:
        if action in (DETAILS, ADMIN) and isinstance(value, bool):
            if value:
                yield action
            return
        paths = [value] if isinstance(value, str) else value
        usable = isinstance(paths, list) and all(isinstance(path, str) for path in paths)
        if action not in (READ, PUBLISH, CANCEL) or not usable:
            raise self._invalid()
        yield from (f"{action} {path}" for path in islice(paths, MAX_GRANTS + 1))

    def _invalid(self) -> InvalidGrant:
        return InvalidGrant(
            f"the claim `{self._grants_claim}` of the token does not hold valid grants",
            hint='Issue it as a list such as ["read operations/acme.*"]; `tidings token inspect` shows the fault.',
        )


def read_templates(table: Mapping[str, Any], *, option: str) -> tuple[str, ...]:
    """Return the templates of a table in a configuration file.

    ::

        read = "operations/{sub}.*"
        publish = ["data/{tenant}.*", "operations/{tenant}.* operation:*"]
        details = true
        admin = "if realm_access.roles=hub-admin"

    Args:
        table: Paths, or lists of them, by action.
        option: Name of the table, for errors.

    Raises:
        ConfigError: An action is unknown, or its value is not text, a list of texts, or (for `details`) a boolean.
    """
    texts: list[str] = []
    for action, value in table.items():
        if action in (DETAILS, ADMIN) and isinstance(value, bool):
            texts += [action] * value
            continue
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
            raise ConfigError(f"invalid value of {action!r}: expected text or a list of texts", option=option)
        if action not in (READ, PUBLISH, CANCEL, DETAILS, ADMIN):
            raise ConfigError(
                f"unknown action {action[:40]!r}: expected read, publish, cancel, details or admin", option=option
            )
        texts += [f"{action} {text}" for text in listed]
    for text in texts:
        GrantTemplate(text, option=option)
    return tuple(texts)
