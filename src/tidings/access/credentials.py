"""The credential of a request: where a client may put it, and where it may not.

A URL ends up in histories, logs of proxies and `Referer` headers, so the only secret in one is a ticket: it is valid
once, for 30 s.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote_plus

from tidings.access.origins import is_own_origin
from tidings.access.subjects import API_KEY_PREFIX, Credential
from tidings.exceptions import AccessError, CredentialInURL, Forbidden, InvalidToken, Unauthenticated

TICKET_PARAMETER: Final = "ticket"
"""Query parameter with a ticket, for clients that cannot send headers: EventSource, and the WebSocket of browsers."""
SECRET_PARAMETERS: Final = frozenset({"token", "access_token", "jwt", "api_key", "apikey", "authorization"})
"""Query parameters in which other servers accept secrets (RFC 6750 §2.3 discourages `access_token`)."""
_BEARER: Final = "bearer"
_JWT: Final = re.compile(r"eyJ[\w-]*\.[\w-]+\.[\w-]*", re.ASCII)
"""A JWT: `eyJ` is the beginning of a JSON object in Base64."""


def headers_by_name(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers of a request by their lower-case names: the first value of each, and all cookies.

    HTTP/2 allows several lines of cookies, which are one list (RFC 9113 §8.2.3).
    """
    headers: dict[str, str] = {}
    for field, value in fields:
        name = field.lower()
        if name == "cookie" and name in headers:
            headers[name] += f"; {value}"
        else:
            headers.setdefault(name, value)
    return headers


def find_credential(headers: Mapping[str, str], query: str, *, cookie: str = "") -> Credential | None:
    """Return the credential of a request: of `Authorization: Bearer`, of the query's ticket, or of a cookie.

    Another scheme of `Authorization` is not for the hub: a proxy in front of it may ask for a password.

    Args:
        headers: Headers by lower-case name.
        query: Query of the URL, without the `?`.
        cookie: Name of the cookie that may hold a credential; "" for none.

    Raises:
        CredentialInURL: The query has a parameter for a secret other than a ticket.
    """
    check_query(query)
    words = headers.get("authorization", "").split(maxsplit=1)
    if len(words) == 2 and words[0].lower() == _BEARER:
        return Credential(words[1].strip(), "header")
    tickets = [value for name, value in _pairs(query) if name == TICKET_PARAMETER and value]
    if tickets:
        return Credential(unquote_plus(tickets[-1]), "ticket")
    found = _find_cookie(headers.get("cookie", ""), cookie) if cookie else ""
    return Credential(found, "cookie") if found else None


def find_misplaced(headers: Mapping[str, str]) -> InvalidToken | None:
    """Return the error of a request whose `Authorization` has a key or a JWT without `Bearer`; None if it has none."""
    words = headers.get("authorization", "").split(maxsplit=1)
    if not words or words[0].lower() == _BEARER:
        return None
    if not (words[-1].startswith(API_KEY_PREFIX) or _JWT.fullmatch(words[-1])):
        return None
    return InvalidToken(
        f"`Authorization` with {'another scheme' if len(words) == 2 else 'no scheme'}: expected `Bearer`",
        hint="Send `Authorization: Bearer TOKEN`.",
    )


def ask_for_credential(headers: Mapping[str, str]) -> AccessError:
    """Return the error of a request without a credential; it names what the request has in place of one."""
    misplaced = find_misplaced(headers)
    if misplaced is not None:
        return misplaced
    words = headers.get("authorization", "").split(maxsplit=1)
    if not words:
        return Unauthenticated("this hub asks for a credential")
    if words[0].lower() == _BEARER:
        return Unauthenticated("`Authorization: Bearer` without a token", hint="Set the variable with the token.")
    scheme = f" `{words[0].title()}`" if len(words) == 2 and words[0].isalnum() and len(words[0]) <= 20 else ""
    return Unauthenticated(
        f"this hub asks for a credential; the scheme{scheme} of `Authorization` is for others, such as a proxy",
        hint="Send `Authorization: Bearer TOKEN`, with an API key or a JWT.",
    )


def check_query(query: str) -> None:
    """Check that a URL's query holds no secret but a ticket.

    Raises:
        CredentialInURL: It has a parameter for one; the error does not contain its value.
    """
    for name, _ in _pairs(query):
        if name.lower() in SECRET_PARAMETERS:
            raise CredentialInURL(f"a credential in the URL: parameter `{name.lower()}`")


def check_cookie_origin(headers: Mapping[str, str], host: str | None) -> None:
    """Check that a request whose right is a cookie, and which may change something, comes from the hub's own origin.

    A browser sends the cookie with requests of any page, as far as `SameSite` allows it, and that has gaps: pages of
    sibling domains, and the first two minutes of a cookie without it.

    Args:
        headers: Headers by lower-case name.
        host: Host and port in the client's URL.

    Raises:
        Forbidden: It does not, or nothing shows that it does.
    """
    origin = headers.get("origin")
    own = headers.get("sec-fetch-site") == "same-origin" if origin is None else is_own_origin(origin, host)
    if not own:
        raise Forbidden(
            "a cookie counts only for pages of the hub's own origin",
            hint="Send the request from such a page, or with `Authorization: Bearer TOKEN`.",
        )


def _pairs(query: str) -> list[tuple[str, str]]:
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(unquote_plus(name), value) for name, _, value in pairs]


def _find_cookie(header: str, name: str) -> str:
    """Return the value of a cookie (RFC 6265 §5.4), or "" where it is missing or sent twice with different values.

    A page of a sibling domain can set a second cookie of the same name, and nothing shows which one is whose.
    """
    values = set()
    for part in header.split(";"):
        own, separator, value = part.strip().partition("=")
        if separator and own == name:
            values.add(value.strip().strip('"'))
    return values.pop() if len(values) == 1 else ""
