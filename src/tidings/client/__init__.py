"""The client library: publishes and watches events over connections that reconnect by themselves."""

from tidings.client.client import PUBLISH_TIMEOUT_S as PUBLISH_TIMEOUT_S
from tidings.client.client import Client as Client
from tidings.client.client import connect as connect
from tidings.client.events import Gap as Gap
from tidings.client.events import Live as Live
from tidings.client.events import Notice as Notice
from tidings.client.events import Outcome as Outcome
from tidings.client.events import ReceivedEvent as ReceivedEvent
from tidings.client.options import LinkOptions as LinkOptions
from tidings.client.publish_queue import WindowLimits as WindowLimits
from tidings.client.receive_buffer import BufferLimits as BufferLimits
from tidings.client.reconnect import Reconnect as Reconnect
from tidings.client.status import State as State
from tidings.client.status import Status as Status
from tidings.client.url import DEFAULT_URL as DEFAULT_URL
from tidings.client.watch import Watch as Watch
from tidings.client.watch import WatchStatistics as WatchStatistics
from tidings.client.websocket import ClientConnection as ClientConnection
from tidings.client.websocket import ConnectionEnded as ConnectionEnded
from tidings.client.websocket import OpenConnection as OpenConnection
from tidings.client.websocket import open_websocket as open_websocket
