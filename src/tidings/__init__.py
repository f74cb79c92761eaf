"""Typed, trace-correlated events about long-running work, to every screen that watches it.

Names are imported at their first use, so that `import tidings` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from tidings.version import __version__ as __version__

_HOMES = {
    "tidings.client": "Client Gap Live Outcome ReceivedEvent Reconnect State Status Watch connect",
    "tidings.client.events": "TypedEvent",
    "tidings.contract.contract": "Contract",
    "tidings.contract.event_types": "EventType event",
    "tidings.contract.loading": "load_contract",
    "tidings.exceptions": """
        AbusiveClient AccessError AddressInUse AddressUnavailable ApiKeyExpired AuthenticationTimeout
        AuthenticationUnavailable BinaryMessage ClientError CommandRefused ConfigError ConnectionLost ContractError
        CredentialInURL CredentialRevoked Draining EventIDReused Forbidden HandshakeRefused HeadTooLarge HubClosed
        HubError HubUnreachable InsecureAddress InternalError InvalidCommand InvalidContract InvalidCredential
        InvalidEnvelope InvalidEventID InvalidGrant InvalidJSON InvalidKey InvalidKeyFile InvalidLicense
        InvalidParameter InvalidPath InvalidPayload InvalidPosition InvalidTicket InvalidTimestamp InvalidToken
        InvalidTraceID InvalidUTF8 JobOverdue LicenseExpired LicenseNotYetValid LicenseOfAnotherKey LimitExceeded
        LogBusy LogCorrupt LogError LogForeign LogFull LogInUse LogOpening LogReadOnly LogTooNew LogUnavailable
        MethodNotAllowed MissingExtra NotAHub NotFound NotPublishable NotSupported OperationCancelled
        OperationError OperationExists OperationFenced OperationFinished OperationUnknown OriginRefused Overloaded
        PayloadTooLarge PublishTimeout RateLimited RequestError RequestTimeout ReservedName ServeError SignedOut
        TidingsError TokenExpired TokenNotYetValid TokenTooLarge TokenTruncated TokenUnavailable TooDeep
        TooManyConnections TooManyFailures TooManyRequests Unauthenticated UnknownApiKey UnknownChannel
        UnknownSigningKey UnknownType UnsafeFile UnsupportedMediaType UpgradeRequired UrlTooLong WrongAlgorithm
        WrongAudience WrongChannel WrongIssuer
    """,
    "tidings.producer.api": "operation start",
    "tidings.producer.operation": "Operation current_operation",
    "tidings.producer.tracking": "Step",
    "tidings.protocol.message_types": "ChannelType EventClass MessageType",
    "tidings.protocol.messages": "CancelOutcome",
    "tidings.protocol.payloads": """
        AuthFailed AuthRequired AuthSuccess ConnectionClosed ConnectionEstablished ContractIdentity DataErrorData
        DataProcessedData DataUpdateData ErrorData LicenseExpiredData OperationCancelledData OperationCompleteData
        OperationEstimateData OperationFailedData OperationLogData OperationProgressData OperationStartData Payload
        ReportReadyData SystemAlertData SystemMetricsData SystemStatusData
    """,
}
"""The module of each public name. Type checkers read the same imports below; a test compares the two."""

_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}
__all__ = sorted(["__version__", *_MODULES])

if TYPE_CHECKING:
    # fmt: off
    # isort: off
    from tidings.client import (
        Client as Client, Gap as Gap, Live as Live, Outcome as Outcome, ReceivedEvent as ReceivedEvent,
        Reconnect as Reconnect, State as State, Status as Status, Watch as Watch, connect as connect,
    )
    from tidings.client.events import TypedEvent as TypedEvent
    from tidings.contract.contract import Contract as Contract
    from tidings.contract.event_types import EventType as EventType, event as event
    from tidings.contract.loading import load_contract as load_contract
    from tidings.exceptions import (
        AbusiveClient as AbusiveClient, AccessError as AccessError, AddressInUse as AddressInUse,
        AddressUnavailable as AddressUnavailable, ApiKeyExpired as ApiKeyExpired,
        AuthenticationTimeout as AuthenticationTimeout, AuthenticationUnavailable as AuthenticationUnavailable,
        BinaryMessage as BinaryMessage, ClientError as ClientError, CommandRefused as CommandRefused,
        ConfigError as ConfigError, ConnectionLost as ConnectionLost, ContractError as ContractError,
        CredentialInURL as CredentialInURL, CredentialRevoked as CredentialRevoked, Draining as Draining,
        EventIDReused as EventIDReused, Forbidden as Forbidden, HandshakeRefused as HandshakeRefused,
        HeadTooLarge as HeadTooLarge, HubClosed as HubClosed, HubError as HubError, HubUnreachable as HubUnreachable,
        InsecureAddress as InsecureAddress, InternalError as InternalError, InvalidCommand as InvalidCommand,
        InvalidContract as InvalidContract, InvalidCredential as InvalidCredential, InvalidEnvelope as InvalidEnvelope,
        InvalidEventID as InvalidEventID, InvalidGrant as InvalidGrant, InvalidJSON as InvalidJSON,
        InvalidKey as InvalidKey, InvalidKeyFile as InvalidKeyFile, InvalidLicense as InvalidLicense,
        InvalidParameter as InvalidParameter, InvalidPath as InvalidPath, InvalidPayload as InvalidPayload,
        InvalidPosition as InvalidPosition, InvalidTicket as InvalidTicket, InvalidTimestamp as InvalidTimestamp,
        InvalidToken as InvalidToken, InvalidTraceID as InvalidTraceID, InvalidUTF8 as InvalidUTF8,
        JobOverdue as JobOverdue, LicenseExpired as LicenseExpired, LicenseNotYetValid as LicenseNotYetValid,
        LicenseOfAnotherKey as LicenseOfAnotherKey, LimitExceeded as LimitExceeded, LogBusy as LogBusy,
        LogCorrupt as LogCorrupt, LogError as LogError, LogForeign as LogForeign, LogFull as LogFull,
        LogInUse as LogInUse, LogOpening as LogOpening, LogReadOnly as LogReadOnly, LogTooNew as LogTooNew,
        LogUnavailable as LogUnavailable,
        MethodNotAllowed as MethodNotAllowed, MissingExtra as MissingExtra, NotAHub as NotAHub, NotFound as NotFound,
        NotPublishable as NotPublishable, NotSupported as NotSupported, OperationCancelled as OperationCancelled,
        OperationError as OperationError, OperationExists as OperationExists, OperationFenced as OperationFenced,
        OperationFinished as OperationFinished, OperationUnknown as OperationUnknown, OriginRefused as OriginRefused,
        Overloaded as Overloaded, PayloadTooLarge as PayloadTooLarge, PublishTimeout as PublishTimeout,
        RateLimited as RateLimited, RequestError as RequestError, RequestTimeout as RequestTimeout,
        ReservedName as ReservedName, ServeError as ServeError, SignedOut as SignedOut, TidingsError as TidingsError,
        TokenExpired as TokenExpired, TokenNotYetValid as TokenNotYetValid, TokenTooLarge as TokenTooLarge,
        TokenTruncated as TokenTruncated,
        TokenUnavailable as TokenUnavailable, TooDeep as TooDeep, TooManyConnections as TooManyConnections,
        TooManyFailures as TooManyFailures, TooManyRequests as TooManyRequests, Unauthenticated as Unauthenticated,
        UnknownApiKey as UnknownApiKey, UnknownChannel as UnknownChannel, UnknownSigningKey as UnknownSigningKey,
        UnknownType as UnknownType, UnsafeFile as UnsafeFile, UnsupportedMediaType as UnsupportedMediaType,
        UpgradeRequired as UpgradeRequired, UrlTooLong as UrlTooLong, WrongAlgorithm as WrongAlgorithm,
        WrongAudience as WrongAudience, WrongChannel as WrongChannel, WrongIssuer as WrongIssuer,
    )
    from tidings.producer.api import operation as operation, start as start
    from tidings.producer.operation import Operation as Operation, current_operation as current_operation
    from tidings.producer.tracking import Step as Step
    from tidings.protocol.message_types import (
        ChannelType as ChannelType, EventClass as EventClass, MessageType as MessageType,
    )
    from tidings.protocol.messages import CancelOutcome as CancelOutcome
    from tidings.protocol.payloads import (
        AuthFailed as AuthFailed, AuthRequired as AuthRequired, AuthSuccess as AuthSuccess,
        ConnectionClosed as ConnectionClosed, ConnectionEstablished as ConnectionEstablished,
        ContractIdentity as ContractIdentity, DataErrorData as DataErrorData, DataProcessedData as DataProcessedData,
        DataUpdateData as DataUpdateData, ErrorData as ErrorData, LicenseExpiredData as LicenseExpiredData,
        OperationCancelledData as OperationCancelledData, OperationCompleteData as OperationCompleteData,
        OperationEstimateData as OperationEstimateData, OperationFailedData as OperationFailedData,
        OperationLogData as OperationLogData, OperationProgressData as OperationProgressData,
        OperationStartData as OperationStartData, Payload as Payload, ReportReadyData as ReportReadyData,
        SystemAlertData as SystemAlertData, SystemMetricsData as SystemMetricsData,
        SystemStatusData as SystemStatusData,
    )
    # isort: on
    # fmt: on


def __getattr__(name: str) -> object:
    """Import a public name from the module that defines it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return __all__
