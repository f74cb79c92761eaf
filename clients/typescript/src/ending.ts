/** What the end of a WebSocket means (docs/protocol/codes.md, "Close codes"). */
import { ConnectionLostError, HubClosedError } from "./errors.ts";
import type { Closed } from "./messages.ts";

/** The longest delay that a hub may ask for: a wrong number must not keep a client away for weeks. */
export const MAX_RETRY_AFTER_MS = 300_000;
/** Close code of a hub that refuses the token. */
export const REJECTED = 4001;
/** Close codes of RFC 6455 after which another try would end the same. */
const FINAL = [1000, 1002, 1003, 1007, 1008, 1009, 1010];
/** Close code while the license of the hub has expired: it may be renewed. */
const LICENSE_EXPIRED = 4051;

/** Return whether a client should reconnect after a close code. */
export function mayReconnect(code: number): boolean {
  return !(FINAL.includes(code) || (code >= 4000 && code <= 4099 && code !== LICENSE_EXPIRED));
}

/**
 * Return what the end with a close code means: a {@link ConnectionLostError} if the client may come back.
 *
 * @param notice - What the hub sent before; it tells what the code would, if the socket ended without one.
 */
export function readEnd(code: number, reason: string, notice?: Closed): ConnectionLostError | HubClosedError {
  const ended = code === 1005 || code === 1006 ? (notice?.code ?? code) : code;
  const text = notice?.reason || reason;
  if (mayReconnect(ended) && notice?.reconnect !== false) {
    return new ConnectionLostError(text || `the connection ended (${ended})`, ended);
  }
  const what = ended === REJECTED ? "refuses the token" : `ended the connection (${ended})`;
  return new HubClosedError(`the hub ${what}${text && `: ${text}`}`, ended);
}
