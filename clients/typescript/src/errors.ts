/** All errors of the client: facts as fields, what happened in `message`, what to do about it in `hint`. */

/** The five fields that describe an error everywhere in the contract. */
export interface ErrorData {
  readonly code: string;
  readonly message: string;
  readonly details?: string;
  /** Whether the same request, unchanged, may succeed later. */
  readonly recoverable: boolean;
  readonly hint?: string;
}

interface Facts extends Partial<ErrorData> {
  cause?: unknown;
}

/** Base of all errors that the client raises or reports. */
export class TidingsError extends Error implements ErrorData {
  override readonly name: string = "TidingsError";
  readonly code: string;
  readonly recoverable: boolean;
  /** What to do about it; "" if there is nothing to say. */
  readonly hint: string;
  /** More for a log. */
  readonly details: string;

  constructor(code: string, message: string, facts: Facts = {}) {
    super(message, facts);
    this.code = code;
    this.recoverable = facts.recoverable ?? false;
    this.hint = facts.hint ?? "";
    this.details = facts.details ?? "";
  }
}

/** An option or argument is invalid. */
export class ConfigError extends TidingsError {
  override readonly name: string = "ConfigError";

  constructor(message: string, hint = "") {
    super("invalid_config", message, { hint });
  }
}

/** The hub refused a command, an event or a request; `code` is the hub's own. */
export class HubError extends TidingsError {
  override readonly name: string = "HubError";
  /** HTTP status of the answer; 0 over a WebSocket. */
  readonly status: number;
  /** Milliseconds to wait before the request is sent again; 0 if the hub named none. */
  readonly retryAfterMs: number;
  /** With `forbidden` over HTTP: what the subject may read, publish or cancel. */
  readonly allowed: readonly string[];

  constructor(data: ErrorData & { retry_after_ms?: number; allowed?: readonly string[] }, status = 0) {
    super(data.code, data.message, data);
    this.status = status;
    this.retryAfterMs = data.retry_after_ms ?? 0;
    this.allowed = data.allowed ?? [];
  }
}

/** The hub refused the credential, or asks for one (`unauthenticated`). */
export class CredentialError extends HubError {
  override readonly name: string = "CredentialError";
}

/** The subject lacks a grant. */
export class ForbiddenError extends HubError {
  override readonly name: string = "ForbiddenError";
}

/** Nothing answers at the URL, or a page cannot tell: its browser hides the difference. */
export class HubUnreachableError extends TidingsError {
  override readonly name: string = "HubUnreachableError";

  constructor(message: string, hint: string, cause?: unknown) {
    super("hub_unreachable", message, { recoverable: true, hint, cause });
  }
}

/** The server at the URL refuses the WebSocket or the request. */
export class HandshakeRefusedError extends TidingsError {
  override readonly name: string = "HandshakeRefusedError";
  /** HTTP status of the answer. */
  readonly status: number;

  constructor(message: string, status: number, hint: string) {
    super("handshake_refused", message, { recoverable: status >= 500 || status === 429, hint });
    this.status = status;
  }
}

/** The server at the URL is not a tidings hub: it answers with a web page, or with another protocol. */
export class NotAHubError extends TidingsError {
  override readonly name: string = "NotAHubError";

  constructor(message: string, hint = "Point the URL at a tidings hub; `tidings doctor` tests it.") {
    super("not_a_hub", message, { hint });
  }
}

/** The hub no longer supports this client's contract. */
export class NotSupportedError extends TidingsError {
  override readonly name: string = "NotSupportedError";

  constructor(message: string) {
    super("not_supported", message, { hint: "Upgrade the npm package `tidings`, or reload the page." });
  }
}

/** The connection broke, or the hub does not answer; the client reconnects by itself. */
export class ConnectionLostError extends TidingsError {
  override readonly name: string = "ConnectionLostError";
  /** WebSocket close code; 1006 if there was none. */
  readonly closeCode: number;

  constructor(message: string, closeCode = 1006) {
    super("connection_lost", message, { recoverable: true, hint: "The client reconnects by itself." });
    this.closeCode = closeCode;
  }
}

/** The hub closed the connection with a code that forbids reconnecting. */
export class HubClosedError extends TidingsError {
  override readonly name: string = "HubClosedError";
  /** WebSocket close code. */
  readonly closeCode: number;

  constructor(message: string, closeCode: number) {
    super("hub_closed", message, { hint: "Read the hub's reason." });
    this.closeCode = closeCode;
  }
}

/** The supplier of the token threw, or did not settle in time; the client asks it again later. */
export class TokenUnavailableError extends TidingsError {
  override readonly name: string = "TokenUnavailableError";

  constructor(message: string) {
    super("token_unavailable", message, { recoverable: true, hint: "Correct the function passed as `token`." });
  }
}

/** The client no longer has a token: its supplier returned null, or `signOut` was called. */
export class SignedOutError extends TidingsError {
  override readonly name: string = "SignedOutError";

  constructor() {
    super("signed_out", "signed out", { hint: "Call `signIn` with a token." });
  }
}

/** The client was closed. */
export class ClientClosedError extends TidingsError {
  override readonly name: string = "ClientClosedError";

  constructor() {
    super("client_closed", "the client was closed", { hint: "Call `connect` again." });
  }
}

/** Return `error`, whatever was thrown, as an error of the client. */
export function asTidingsError(error: unknown): TidingsError {
  return error instanceof TidingsError ? error : new TidingsError("client_error", String(error), { cause: error });
}

/**
 * Return the error that the hub describes with `data`.
 *
 * @param status - HTTP status of the answer; 0 over a WebSocket.
 */
export function makeHubError(data: ErrorData, status = 0): HubError {
  if (data.code === "forbidden" || data.code === "access_denied") return new ForbiddenError(data, status);
  return status === 401 || data.code === "unauthenticated"
    ? new CredentialError(data, status)
    : new HubError(data, status);
}
