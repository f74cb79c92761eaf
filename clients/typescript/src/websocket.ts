/** Connections over WebSocket. */
import type { Transport, TransportHandlers } from "./link.ts";
import { PROTOCOL } from "./messages.ts";
import type { WebSocketConstructor } from "./options.ts";

/** Open a WebSocket. Its handlers are called until it is closed from either side, and never after. */
export function openWebSocket(Class: WebSocketConstructor, url: string, handlers: TransportHandlers): Transport {
  const socket = new Class(url, PROTOCOL);
  socket.onopen = () => handlers.opened();
  // A hub sends text only; anything else is not a hub, and the session will say so.
  socket.onmessage = ({ data }) => handlers.received(typeof data === "string" ? data : "");
  socket.onclose = ({ code, reason }) => handlers.closed(code, reason);
  // Also after `close`: aborting a socket that still connects reports an error, which no one needs.
  socket.onerror = () => {};
  return {
    send: (text) => {
      if (socket.readyState === 1) socket.send(text);
    },
    close: () => {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    },
  };
}
