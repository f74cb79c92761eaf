"""How every connection to a hub is made, over WebSocket and HTTP: proxies, TLS, and what their failures mean."""

import os
import ssl
from base64 import b64encode
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

from tidings.client.url import is_loopback
from tidings.exceptions import ConfigError, HubUnreachable

CA_VARIABLE = "TIDINGS_CA"
"""Environment variable with a PEM file of further certificate authorities."""
_FILE_VARIABLES = (CA_VARIABLE, "SSL_CERT_FILE")


def make_tls_context(environment: Mapping[str, str] | None = None) -> ssl.SSLContext:
    """Return a context that trusts what this machine trusts, and the authorities of TIDINGS_CA and SSL_CERT_FILE.

    Args:
        environment: Environment variables; by default the process's own.

    Raises:
        ConfigError: A file that a variable names cannot be read, or holds no certificate.
    """
    import truststore  # only for connections over TLS

    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    variables = os.environ if environment is None else environment
    for variable in _FILE_VARIABLES:
        if path := variables.get(variable):
            try:
                context.load_verify_locations(path)
            except OSError as error:  # ssl.SSLError is one
                reason = "it holds no PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror
                raise ConfigError(
                    f"invalid certificate file {path!r}: {reason}",
                    option="ca",
                    source=variable,
                    hint=f"Set {variable} to a readable PEM file, or unset it.",
                ) from error
    return context


PLAIN_TO_TLS_HINT = "If the hub has a certificate, use wss:// or https:// in its URL."
"""Hint for a connection without TLS that the server closed without an answer, as a port with TLS does."""


def explain_tls_error(error: ssl.SSLError, where: str) -> HubUnreachable:
    """Return the error for a TLS handshake with `where` that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"the certificate is not trusted: {error.verify_message}"
        hint = "For a private authority, set TIDINGS_CA to its PEM file, or pass --ca."
    else:
        reason = error.reason or str(error)
        hint = "Use ws:// for a hub without a certificate."
    return HubUnreachable(f"no TLS connection to {where}: {reason}", hint=hint)


def basic_credentials(user: str, password: str | None) -> str:
    """Return the header value for a user name and a password as they stand in a URL: percent-encoded."""
    return "Basic " + b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()


def network_options(url: str, headers: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
    """Return the arguments of websockets' `connect` for `url`: the address, headers, the proxy, and the TLS context.

    Args:
        url: Address of a WebSocket, perhaps with a user name and a password.
        headers: Headers of the request. A header Authorization replaces the user name and password.

    Raises:
        ConfigError: See `make_tls_context`.
    """
    parts = urlsplit(url)
    headers = list(headers)
    if parts.username and not any(name.lower() == "authorization" for name, _ in headers):
        # websockets requires a password, and its earlier versions send the percent-encoded characters.
        headers.append(("Authorization", basic_credentials(parts.username, parts.password)))
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    options: dict[str, Any] = {"uri": address, "additional_headers": headers}
    if is_loopback(url):
        # By default websockets uses the proxy of the environment, as other programs do; but not to this machine.
        options["proxy"] = None
    if url.startswith("wss:"):
        options["ssl"] = make_tls_context()
    return options


def proxy_hint(status: int) -> str:
    """Return what to do about an HTTP status that a proxy, and not the hub, answers; "" if that is not known."""
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "A proxy in front of the hub refuses access: put its credentials in the URL, or allow the hub's paths."
    if status == HTTPStatus.UPGRADE_REQUIRED:
        return "A proxy in front of the hub does not forward the upgrade: forward Upgrade and Connection."
    if status in (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT):
        return "A proxy in front of the hub cannot reach it: start the hub, or correct the proxy's address of it."
    return ""
