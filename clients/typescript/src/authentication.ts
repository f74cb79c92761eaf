/** The token of one session: when it is asked for, sent and given up. Nothing here awaits; the port acts. */
import type { Action } from "./actions.ts";
import type { Backoff } from "./backoff.ts";
import { NEVER } from "./clock.ts";
import { ConnectionLostError, CredentialError, makeHubError, type TidingsError } from "./errors.ts";
import type { AuthRequired, AuthSuccess, Message, Refusal } from "./messages.ts";

/** Refusals in a row after which another token of the supplier is not tried. */
const MAX_REFUSALS = 6;
const TOKEN_ID = "token";

/** Who the client is to the hub. */
export interface Access {
  readonly subject?: string;
  readonly grants?: readonly string[];
  readonly expiresAt?: string;
}

export interface AuthenticationPort {
  now(): number;
  act(action: Action): void;
  send(type: string, id: string, data: unknown): void;
  /** Use another token on a new connection, now. */
  reconnect(error: TidingsError): void;
  /** The hub has accepted the token; the paths `removed` may no longer be read. */
  accepted(removed: readonly string[]): void;
  /** Give the connection up, and connect again after a delay. */
  lose(error: TidingsError): void;
  /** Give up for good. */
  refuse(error: TidingsError): void;
  signedOut(error: TidingsError): void;
}

export class Authentication {
  access: Access = {};
  /** Whether the source may have another token later. */
  renewable = false;
  /** Why the hub is about to close the connection. */
  refusal: TidingsError | undefined;
  readonly #port: AuthenticationPort;
  readonly #backoff: Backoff;
  #request = 0;
  #asking = false;
  /** Whether the hub has let the client in on this connection. */
  #inside = false;
  #againAt = NEVER;
  #until = 0;
  #sent: string | undefined;
  #refused: string | undefined;
  #refusals = 0;

  constructor(port: AuthenticationPort, backoff: Backoff) {
    this.#port = port;
    this.#backoff = backoff;
  }

  /** When `tick` must be called. */
  get deadline(): number {
    return this.#againAt;
  }

  tick(): void {
    if (this.#port.now() >= this.#againAt) this.ask(this.#until);
  }

  /** The connection is gone: answers that are on their way do not count. */
  lost(): void {
    this.#request += 1;
    this.#asking = this.#inside = false;
    this.#againAt = NEVER;
  }

  /** The hub has let the client in; `subject` is its name, or `none` without authentication. */
  entered(subject?: string): void {
    this.#inside = true;
    this.#refusals = 0;
    this.#refused = this.refusal = undefined;
    if (subject === "none") this.access = {};
    else if (subject !== undefined && this.access.subject !== subject) this.access = { subject };
  }

  /** Another source of tokens is in use. */
  replaced(): void {
    this.#refusals = 0;
    this.#refused = undefined;
    this.#asking = false;
    if (!this.#inside || this.access.subject !== undefined) this.ask(NEVER);
  }

  forget(): void {
    this.access = {};
    this.#sent = this.#refused = this.refusal = undefined;
  }

  /** Ask for a token: the first, or another than the one in use, until the time `until`. */
  ask(until: number): void {
    this.#againAt = NEVER;
    this.#until = until;
    if (this.#asking) return; // one refresh at a time
    this.#asking = true;
    this.#port.act({ do: "token", request: ++this.#request });
  }

  #askLater(): void {
    const at = this.#port.now() + this.#backoff.next();
    if (at < this.#until) this.#againAt = at;
  }

  /** Take the token, or why there is none; return whether it is another than the one in use. */
  arrived(request: number, token: string | undefined | TidingsError): boolean {
    if (request !== this.#request || !this.#asking) return false;
    this.#asking = false;
    if (token instanceof Error) {
      if (token.code === "signed_out") this.#port.signedOut(token);
      else if (this.#inside) this.#askLater();
      else this.#port.lose(token);
    } else if (this.#inside) {
      if (token !== undefined && token !== this.#sent) return this.#send(token);
      this.#askLater(); // the source is late: it still has the one that expires
    } else if (token === undefined) {
      const message = "the hub asks for a token";
      const hint = "Pass the option `token`, or call `signIn`.";
      this.#port.refuse(new CredentialError({ code: "unauthenticated", message, recoverable: false, hint }));
    } else if (token === this.#refused && this.refusal !== undefined) this.onClosed(this.refusal);
    else return this.#send(token);
    return false;
  }

  #send(token: string): boolean {
    this.#sent = token;
    this.#port.send("auth:token", TOKEN_ID, { token });
    return true;
  }

  /** Handle a message; those about other things are ignored. */
  received({ data, reply_to, type }: Message): void {
    switch (type) {
      case "auth:required":
        if (this.#inside) this.ask(this.#port.now() + (data as AuthRequired).deadline_s * 1000);
        break;
      case "auth:success":
        this.#onSuccess(data as AuthSuccess);
        break;
      case "auth:failed": {
        const error = makeHubError(data as Refusal, 401);
        if (this.#inside && error.recoverable) this.#sendAgain();
        else this.refusal = error;
        break;
      }
      case "connection:error": {
        const error = makeHubError(data as Refusal);
        // Without an id it is the reason, if the connection is closed now.
        if (reply_to === undefined) this.refusal = error;
        else if (reply_to !== TOKEN_ID) break;
        // The hub changes no connection's subject: the token needs one of its own.
        else if (error.code === "forbidden") this.#port.reconnect(new ConnectionLostError("another subject signed in"));
        else this.#sendAgain();
      }
    }
  }

  #onSuccess({ expires_at: expiresAt, grants, removed = [], subject }: AuthSuccess): void {
    this.#backoff.reset();
    this.access = { subject, grants, ...(expiresAt === undefined ? {} : { expiresAt }) };
    this.#port.accepted(removed);
  }

  /** The hub cannot verify the token now. */
  #sendAgain(): void {
    this.#sent = undefined;
    this.#askLater();
  }

  /** The hub has closed the connection because of the token: try again if the source may have another. */
  onClosed(error: TidingsError): void {
    this.#refused = this.#sent;
    this.#refusals += 1;
    if (this.renewable && this.#refusals < MAX_REFUSALS) {
      this.#port.lose(error);
      this.refusal = error;
    } else this.#port.refuse(error);
  }
}
