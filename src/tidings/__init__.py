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
        AddressInUse AddressUnavailable BinaryMessage ClientError CommandRefused ConfigError ConnectionLost
        ContractError Draining EventIDReused HandshakeRefused HubClosed HubError HubUnreachable InternalError
        InvalidCommand InvalidContract InvalidEnvelope InvalidEventID InvalidJSON InvalidKey InvalidParameter
        InvalidPath InvalidPayload InvalidPosition InvalidTimestamp InvalidTraceID InvalidUTF8 LogBusy LogCorrupt
        LogError LogForeign LogFull LogInUse LogReadOnly LogTooNew LogUnavailable MethodNotAllowed MissingExtra
        NotAHub NotFound NotPublishable NotSupported OperationCancelled OperationError OperationExists OperationFenced
        OperationFinished OperationUnknown OriginRefused PayloadTooLarge PublishTimeout RequestError ServeError
        TidingsError TooDeep TooManyConnections UnknownChannel UnknownType UnsupportedMediaType WrongChannel
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
    from tidings.client import Client as Client
    from tidings.client import Gap as Gap
    from tidings.client import Live as Live
    from tidings.client import Outcome as Outcome
    from tidings.client import ReceivedEvent as ReceivedEvent
    from tidings.client import Reconnect as Reconnect
    from tidings.client import State as State
    from tidings.client import Status as Status
    from tidings.client import Watch as Watch
    from tidings.client import connect as connect
    from tidings.client.events import TypedEvent as TypedEvent
    from tidings.contract.contract import Contract as Contract
    from tidings.contract.event_types import EventType as EventType
    from tidings.contract.event_types import event as event
    from tidings.contract.loading import load_contract as load_contract
    from tidings.exceptions import AddressInUse as AddressInUse
    from tidings.exceptions import AddressUnavailable as AddressUnavailable
    from tidings.exceptions import BinaryMessage as BinaryMessage
    from tidings.exceptions import ClientError as ClientError
    from tidings.exceptions import CommandRefused as CommandRefused
    from tidings.exceptions import ConfigError as ConfigError
    from tidings.exceptions import ConnectionLost as ConnectionLost
    from tidings.exceptions import ContractError as ContractError
    from tidings.exceptions import Draining as Draining
    from tidings.exceptions import EventIDReused as EventIDReused
    from tidings.exceptions import HandshakeRefused as HandshakeRefused
    from tidings.exceptions import HubClosed as HubClosed
    from tidings.exceptions import HubError as HubError
    from tidings.exceptions import HubUnreachable as HubUnreachable
    from tidings.exceptions import InternalError as InternalError
    from tidings.exceptions import InvalidCommand as InvalidCommand
    from tidings.exceptions import InvalidContract as InvalidContract
    from tidings.exceptions import InvalidEnvelope as InvalidEnvelope
    from tidings.exceptions import InvalidEventID as InvalidEventID
    from tidings.exceptions import InvalidJSON as InvalidJSON
    from tidings.exceptions import InvalidKey as InvalidKey
    from tidings.exceptions import InvalidParameter as InvalidParameter
    from tidings.exceptions import InvalidPath as InvalidPath
    from tidings.exceptions import InvalidPayload as InvalidPayload
    from tidings.exceptions import InvalidPosition as InvalidPosition
    from tidings.exceptions import InvalidTimestamp as InvalidTimestamp
    from tidings.exceptions import InvalidTraceID as InvalidTraceID
    from tidings.exceptions import InvalidUTF8 as InvalidUTF8
    from tidings.exceptions import LogBusy as LogBusy
    from tidings.exceptions import LogCorrupt as LogCorrupt
    from tidings.exceptions import LogError as LogError
    from tidings.exceptions import LogForeign as LogForeign
    from tidings.exceptions import LogFull as LogFull
    from tidings.exceptions import LogInUse as LogInUse
    from tidings.exceptions import LogReadOnly as LogReadOnly
    from tidings.exceptions import LogTooNew as LogTooNew
    from tidings.exceptions import LogUnavailable as LogUnavailable
    from tidings.exceptions import MethodNotAllowed as MethodNotAllowed
    from tidings.exceptions import MissingExtra as MissingExtra
    from tidings.exceptions import NotAHub as NotAHub
    from tidings.exceptions import NotFound as NotFound
    from tidings.exceptions import NotPublishable as NotPublishable
    from tidings.exceptions import NotSupported as NotSupported
    from tidings.exceptions import OperationCancelled as OperationCancelled
    from tidings.exceptions import OperationError as OperationError
    from tidings.exceptions import OperationExists as OperationExists
    from tidings.exceptions import OperationFenced as OperationFenced
    from tidings.exceptions import OperationFinished as OperationFinished
    from tidings.exceptions import OperationUnknown as OperationUnknown
    from tidings.exceptions import OriginRefused as OriginRefused
    from tidings.exceptions import PayloadTooLarge as PayloadTooLarge
    from tidings.exceptions import PublishTimeout as PublishTimeout
    from tidings.exceptions import RequestError as RequestError
    from tidings.exceptions import ServeError as ServeError
    from tidings.exceptions import TidingsError as TidingsError
    from tidings.exceptions import TooDeep as TooDeep
    from tidings.exceptions import TooManyConnections as TooManyConnections
    from tidings.exceptions import UnknownChannel as UnknownChannel
    from tidings.exceptions import UnknownType as UnknownType
    from tidings.exceptions import UnsupportedMediaType as UnsupportedMediaType
    from tidings.exceptions import WrongChannel as WrongChannel
    from tidings.producer.api import operation as operation
    from tidings.producer.api import start as start
    from tidings.producer.operation import Operation as Operation
    from tidings.producer.operation import current_operation as current_operation
    from tidings.producer.tracking import Step as Step
    from tidings.protocol.message_types import ChannelType as ChannelType
    from tidings.protocol.message_types import EventClass as EventClass
    from tidings.protocol.message_types import MessageType as MessageType
    from tidings.protocol.messages import CancelOutcome as CancelOutcome
    from tidings.protocol.payloads import AuthFailed as AuthFailed
    from tidings.protocol.payloads import AuthRequired as AuthRequired
    from tidings.protocol.payloads import AuthSuccess as AuthSuccess
    from tidings.protocol.payloads import ConnectionClosed as ConnectionClosed
    from tidings.protocol.payloads import ConnectionEstablished as ConnectionEstablished
    from tidings.protocol.payloads import ContractIdentity as ContractIdentity
    from tidings.protocol.payloads import DataErrorData as DataErrorData
    from tidings.protocol.payloads import DataProcessedData as DataProcessedData
    from tidings.protocol.payloads import DataUpdateData as DataUpdateData
    from tidings.protocol.payloads import ErrorData as ErrorData
    from tidings.protocol.payloads import LicenseExpiredData as LicenseExpiredData
    from tidings.protocol.payloads import OperationCancelledData as OperationCancelledData
    from tidings.protocol.payloads import OperationCompleteData as OperationCompleteData
    from tidings.protocol.payloads import OperationEstimateData as OperationEstimateData
    from tidings.protocol.payloads import OperationFailedData as OperationFailedData
    from tidings.protocol.payloads import OperationLogData as OperationLogData
    from tidings.protocol.payloads import OperationProgressData as OperationProgressData
    from tidings.protocol.payloads import OperationStartData as OperationStartData
    from tidings.protocol.payloads import Payload as Payload
    from tidings.protocol.payloads import ReportReadyData as ReportReadyData
    from tidings.protocol.payloads import SystemAlertData as SystemAlertData
    from tidings.protocol.payloads import SystemMetricsData as SystemMetricsData
    from tidings.protocol.payloads import SystemStatusData as SystemStatusData


def __getattr__(name: str) -> object:
    """Import a public name from the module that defines it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return __all__
