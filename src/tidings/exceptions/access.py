"""Errors of access: who someone is, and what they may do."""

from tidings.exceptions.base import ConfigError, TidingsError


class AccessError(TidingsError, code="access_denied"):
    """The hub does not let the sender do what they ask for."""


class Forbidden(AccessError, code="forbidden"):
    """The subject has no grant for it; `allowed` lists paths or actions that its grants cover."""

    def __init__(self, message: str, *, allowed: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.allowed = allowed


class Unauthenticated(AccessError, code="unauthenticated"):
    """The request has no credential, and the hub asks for one."""


class InvalidCredential(AccessError, code="invalid_credential"):
    """The hub does not accept the credential."""


class InvalidToken(InvalidCredential, code="invalid_token"):
    """The token is malformed, or its signature is wrong."""


class TokenTruncated(InvalidToken, code="token_truncated"):
    """The end of the token is missing."""


class TokenTooLarge(InvalidCredential, code="token_too_large"):
    """The credential is longer than the hub reads."""


class TokenExpired(InvalidCredential, code="token_expired"):
    """The token has expired, or has no expiry."""


class TokenNotYetValid(InvalidCredential, code="token_not_yet_valid"):
    """The token is from the future."""


class WrongAudience(InvalidCredential, code="wrong_audience"):
    """The token is for another audience."""


class WrongIssuer(InvalidCredential, code="wrong_issuer"):
    """The token is from an issuer that the hub does not trust."""


class WrongAlgorithm(InvalidCredential, code="wrong_algorithm"):
    """The token is signed with an algorithm that the hub does not accept."""


class UnknownSigningKey(InvalidCredential, code="unknown_signing_key"):
    """No key of the hub has the token's `kid`."""


class CredentialRevoked(InvalidCredential, code="credential_revoked"):
    """The token, the API key or its subject was revoked."""


class ApiKeyExpired(InvalidCredential, code="api_key_expired"):
    """The API key has expired."""


class UnknownApiKey(InvalidCredential, code="unknown_api_key"):
    """The hub has no such API key."""


class InvalidTicket(InvalidCredential, code="invalid_ticket"):
    """The ticket was used, has expired, or is from another hub."""


class CredentialInURL(AccessError, code="credential_in_url"):
    """The URL contains a secret other than a ticket."""


class TooManyFailures(AccessError, code="too_many_failures"):
    """Too many invalid credentials came from this address; try again after `retry_after_ms`."""

    def __init__(self, message: str, *, retry_after_ms: int = 1000, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_ms = retry_after_ms


class AuthenticationUnavailable(AccessError, code="authentication_unavailable"):
    """A JWKS or a forward-auth server, which the hub needs to verify the credential, does not answer."""


class AuthenticationTimeout(AccessError, code="authentication_timeout"):
    """The client sent no credential before the deadline."""


class InvalidGrant(AccessError, code="invalid_grant"):
    """The text is not a grant."""


class ReservedName(AccessError, code="reserved_name"):
    """The name belongs to the hub."""


class UnsafeFile(ConfigError, code="unsafe_file"):
    """Other users can read or change a file that holds secrets or decides on access."""


class InvalidKeyFile(ConfigError, code="invalid_key_file"):
    """The file of the API keys is damaged, or cannot be read or written."""


class InsecureAddress(ConfigError, code="insecure_address"):
    """A hub without authentication may not listen on an address that other machines can reach."""


class LicenseExpired(AccessError, code="license_expired"):
    """The license of the hub has expired: nothing is published, and after the grace nothing is read.

    Clients try again after `retry_after_ms`.
    """

    def __init__(self, message: str, *, retry_after_ms: int = 30_000, hint: str = "", details: str = "") -> None:
        super().__init__(message, hint=hint, details=details)
        self.retry_after_ms = retry_after_ms


class InvalidLicense(ConfigError, code="invalid_license"):
    """The license, or the public key that verifies it, is damaged or cannot be read."""


class LicenseOfAnotherKey(ConfigError, code="license_key_mismatch"):
    """The license was signed with another key than the one that the hub trusts."""


class LicenseNotYetValid(ConfigError, code="license_not_yet_valid"):
    """The license begins later, or the hub's clock is wrong."""
