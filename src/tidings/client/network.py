"""How every connection to a hub is made, over WebSocket and HTTP: proxies, TLS, and what their failures mean."""

import os
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

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


def explain_tls_error(error: ssl.SSLError, where: str) -> HubUnreachable:
    """Return the error for a TLS handshake with `where` that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"the certificate is not trusted: {error.verify_message}"
        hint = "For a private authority, set TIDINGS_CA to its PEM file, or pass --ca."
    else:
        reason = error.reason or str(error)
        hint = "Use ws:// for a hub without a certificate."
    return HubUnreachable(f"no TLS connection to {where}: {reason}", hint=hint)


def network_options(url: str) -> dict[str, Any]:
    """Return how websockets' `connect` reaches `url`: the proxy, and the TLS context.

    Raises:
        ConfigError: See `make_tls_context`.
    """
    # By default websockets uses the proxy of the environment, as other programs do; but not to this machine.
    options: dict[str, Any] = {"proxy": None} if is_loopback(url) else {}
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
