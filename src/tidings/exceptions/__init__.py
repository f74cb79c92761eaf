"""Every error that tidings raises, in one tree.

::

    TidingsError
    ├── ContractError                 a message that the contract does not allow
    │   ├── InvalidJSON               not JSON, or not one JSON value
    │   ├── InvalidUTF8               bytes that are not UTF-8, even in a member that is ignored
    │   ├── TooDeep                   more than 64 levels of nesting
    │   ├── InvalidEnvelope           JSON, but not an envelope
    │   ├── BinaryMessage             a binary frame; messages are text
    │   ├── InvalidTimestamp
    │   ├── InvalidTraceID
    │   ├── InvalidEventID
    │   ├── UnknownType
    │   ├── NotPublishable            a type that only the hub writes
    │   ├── InvalidPayload            `data` does not fit its type
    │   ├── PayloadTooLarge
    │   ├── InvalidKey
    │   ├── UnknownChannel
    │   ├── WrongChannel              neither the type's own channel nor `global`
    │   ├── InvalidPath
    │   ├── InvalidPosition
    │   ├── InvalidCommand
    │   ├── InvalidParameter          a query parameter or header outside its range
    │   ├── NotSupported              a command or option of the contract that this hub does not serve
    │   ├── LimitExceeded             a client asks for more than the hub keeps
    │   └── EventIDReused
    ├── OperationError                an event that the operation's state does not allow
    │   ├── OperationUnknown
    │   ├── OperationExists           the operation is live, in another attempt or with another producer
    │   ├── OperationFinished
    │   └── OperationFenced           from an attempt that has ended, or not from the holder
    ├── RequestError                  an HTTP request, or a handshake, that the hub rejects
    │   ├── NotFound
    │   ├── MethodNotAllowed
    │   ├── UnsupportedMediaType      a body that is neither JSON nor NDJSON
    │   ├── RequestTimeout            a body that does not arrive
    │   ├── UrlTooLong
    │   ├── HeadTooLarge              more, or longer, headers than the hub accepts
    │   ├── UpgradeRequired           a plain request to the WebSocket's path, or an unknown WebSocket version
    │   └── OriginRefused             a web page of a foreign origin, or an untrusted host name
    ├── AccessError                   the hub does not let the sender do what they ask for
    │   ├── Forbidden                 the subject has no grant for it
    │   ├── Unauthenticated           there is no credential
    │   ├── InvalidCredential         the hub does not accept the credential
    │   │   ├── InvalidToken          malformed, or with a wrong signature
    │   │   │   └── TokenTruncated
    │   │   ├── TokenTooLarge
    │   │   ├── TokenExpired
    │   │   ├── TokenNotYetValid
    │   │   ├── WrongAudience
    │   │   ├── WrongIssuer
    │   │   ├── WrongAlgorithm
    │   │   ├── UnknownSigningKey     no key of the hub has the token's `kid`
    │   │   ├── UnknownApiKey
    │   │   ├── ApiKeyExpired
    │   │   ├── CredentialRevoked
    │   │   └── InvalidTicket
    │   ├── CredentialInURL
    │   ├── TooManyFailures           invalid credentials from one address
    │   ├── AuthenticationTimeout
    │   ├── AuthenticationUnavailable
    │   ├── InvalidGrant              the text is not a grant
    │   ├── LicenseExpired            the license of the hub: nothing is published
    │   └── ReservedName              the name belongs to the hub
    ├── LogError                      the log cannot serve a request
    │   ├── LogInUse
    │   ├── LogForeign                the file is not a tidings log
    │   ├── LogCorrupt
    │   ├── LogTooNew
    │   ├── LogReadOnly
    │   ├── LogFull
    │   ├── LogBusy
    │   ├── LogOpening                the log is being opened
    │   └── LogUnavailable
    ├── HubError
    │   ├── Draining
    │   ├── TooManyConnections
    │   ├── RateLimited               more events or commands each second than a connection or a subject may send
    │   ├── AbusiveClient             a client that sends more than the hub serves for one connection
    │   ├── TooManyRequests           a subject or an address that uses as much at a time as it may
    │   ├── Overloaded                the hub drops a client to keep its memory bounded
    │   ├── JobOverdue                a recurring job of the hub no longer runs
    │   └── InternalError
    ├── ServeError                    the server cannot start
    │   └── AddressUnavailable
    │       └── AddressInUse
    ├── ClientError                   raised by clients
    │   ├── HubUnreachable
    │   ├── HandshakeRefused
    │   ├── ConnectionLost
    │   ├── HubClosed                 closed by the hub with a code that forbids reconnecting
    │   ├── CommandRefused            the hub replied `connection:error`
    │   ├── NotAHub
    │   ├── TokenUnavailable          the token function, or the file with the token, fails
    │   ├── SignedOut                 the source of the token no longer has one
    │   └── PublishTimeout
    ├── OperationCancelled            raised in a job whose operation is cancelled
    ├── ConfigError
    │   ├── InsecureAddress           a hub without authentication on an address that other machines can reach
    │   ├── InvalidKeyFile            the file of the API keys is damaged, or cannot be read or written
    │   ├── InvalidLicense            the license, or its public key, is damaged or cannot be read
    │   ├── LicenseOfAnotherKey       signed with another key than the one that the hub trusts
    │   ├── LicenseNotYetValid
    │   └── UnsafeFile                a file of secrets that other users can read or change
    ├── InvalidContract               an event type that no contract can hold
    └── MissingExtra

Facts are attributes, the sentence is ``str(error)``, the remedy is ``error.hint``. The wire code, the HTTP status and
the close code of each error stand in one table: `tidings.protocol.codes`.
"""

from tidings.exceptions.access import (
    AccessError,
    ApiKeyExpired,
    AuthenticationTimeout,
    AuthenticationUnavailable,
    CredentialInURL,
    CredentialRevoked,
    Forbidden,
    InsecureAddress,
    InvalidCredential,
    InvalidGrant,
    InvalidKeyFile,
    InvalidLicense,
    InvalidTicket,
    InvalidToken,
    LicenseExpired,
    LicenseNotYetValid,
    LicenseOfAnotherKey,
    ReservedName,
    TokenExpired,
    TokenNotYetValid,
    TokenTooLarge,
    TokenTruncated,
    TooManyFailures,
    Unauthenticated,
    UnknownApiKey,
    UnknownSigningKey,
    UnsafeFile,
    WrongAlgorithm,
    WrongAudience,
    WrongIssuer,
)
from tidings.exceptions.base import (
    ConfigError,
    InvalidContract,
    MissingExtra,
    OperationCancelled,
    TidingsError,
)
from tidings.exceptions.client import (
    ClientError,
    CommandRefused,
    ConnectionLost,
    HandshakeRefused,
    HubClosed,
    HubUnreachable,
    NotAHub,
    PublishTimeout,
    SignedOut,
    TokenUnavailable,
)
from tidings.exceptions.contract import (
    BinaryMessage,
    ContractError,
    EventIDReused,
    InvalidCommand,
    InvalidEnvelope,
    InvalidEventID,
    InvalidJSON,
    InvalidKey,
    InvalidParameter,
    InvalidPath,
    InvalidPayload,
    InvalidPosition,
    InvalidTimestamp,
    InvalidTraceID,
    InvalidUTF8,
    LimitExceeded,
    NotPublishable,
    NotSupported,
    OperationError,
    OperationExists,
    OperationFenced,
    OperationFinished,
    OperationUnknown,
    PayloadTooLarge,
    TooDeep,
    UnknownChannel,
    UnknownType,
    WrongChannel,
)
from tidings.exceptions.server import (
    AbusiveClient,
    AddressInUse,
    AddressUnavailable,
    Draining,
    HeadTooLarge,
    HubError,
    InternalError,
    JobOverdue,
    LogBusy,
    LogCorrupt,
    LogError,
    LogForeign,
    LogFull,
    LogInUse,
    LogOpening,
    LogReadOnly,
    LogTooNew,
    LogUnavailable,
    MethodNotAllowed,
    NotFound,
    OriginRefused,
    Overloaded,
    RateLimited,
    RequestError,
    RequestTimeout,
    ServeError,
    TooManyConnections,
    TooManyRequests,
    UnsupportedMediaType,
    UpgradeRequired,
    UrlTooLong,
)

__all__ = [
    "AbusiveClient",
    "AccessError",
    "AddressInUse",
    "AddressUnavailable",
    "ApiKeyExpired",
    "AuthenticationTimeout",
    "AuthenticationUnavailable",
    "BinaryMessage",
    "ClientError",
    "CommandRefused",
    "ConfigError",
    "ConnectionLost",
    "ContractError",
    "CredentialInURL",
    "CredentialRevoked",
    "Draining",
    "EventIDReused",
    "Forbidden",
    "HandshakeRefused",
    "HeadTooLarge",
    "HubClosed",
    "HubError",
    "HubUnreachable",
    "InsecureAddress",
    "InternalError",
    "InvalidCommand",
    "InvalidContract",
    "InvalidCredential",
    "InvalidEnvelope",
    "InvalidEventID",
    "InvalidGrant",
    "InvalidJSON",
    "InvalidKey",
    "InvalidKeyFile",
    "InvalidLicense",
    "InvalidParameter",
    "InvalidPath",
    "InvalidPayload",
    "InvalidPosition",
    "InvalidTicket",
    "InvalidTimestamp",
    "InvalidToken",
    "InvalidTraceID",
    "InvalidUTF8",
    "JobOverdue",
    "LicenseExpired",
    "LicenseNotYetValid",
    "LicenseOfAnotherKey",
    "LimitExceeded",
    "LogBusy",
    "LogCorrupt",
    "LogError",
    "LogForeign",
    "LogFull",
    "LogInUse",
    "LogOpening",
    "LogReadOnly",
    "LogTooNew",
    "LogUnavailable",
    "MethodNotAllowed",
    "MissingExtra",
    "NotAHub",
    "NotFound",
    "NotPublishable",
    "NotSupported",
    "OperationCancelled",
    "OperationError",
    "OperationExists",
    "OperationFenced",
    "OperationFinished",
    "OperationUnknown",
    "OriginRefused",
    "Overloaded",
    "PayloadTooLarge",
    "PublishTimeout",
    "RateLimited",
    "RequestError",
    "RequestTimeout",
    "ReservedName",
    "ServeError",
    "SignedOut",
    "TidingsError",
    "TokenExpired",
    "TokenNotYetValid",
    "TokenTooLarge",
    "TokenTruncated",
    "TokenUnavailable",
    "TooDeep",
    "TooManyConnections",
    "TooManyFailures",
    "TooManyRequests",
    "Unauthenticated",
    "UnknownApiKey",
    "UnknownChannel",
    "UnknownSigningKey",
    "UnknownType",
    "UnsafeFile",
    "UnsupportedMediaType",
    "UpgradeRequired",
    "UrlTooLong",
    "WrongAlgorithm",
    "WrongAudience",
    "WrongChannel",
    "WrongIssuer",
]
