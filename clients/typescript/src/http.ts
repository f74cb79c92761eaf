/** Requests to the HTTP interface of a hub, with the client's credential and typed errors. */
import type { Credentials } from "./credentials.ts";
import type { Environment } from "./environment.ts";
import {
  ConfigError,
  CredentialError,
  type ErrorData,
  HandshakeRefusedError,
  HubUnreachableError,
  makeHubError,
  NotAHubError,
  TidingsError,
} from "./errors.ts";
import type { RequestOptions } from "./options.ts";

const UNREACHABLE_HINT =
  "Start the hub or correct the URL, which must not redirect a token; accept or replace its TLS certificate; or allow this page's origin " +
  "(`tidings serve --allow-origin`). A browser does not tell a page which of these it is.";

export class HttpClient {
  readonly #base: string;
  readonly #environment: Environment;
  readonly #credentials: Credentials;
  readonly #mode: RequestCredentials;

  /** @param base - URL of the HTTP interface. @param mode - Whether cookies are sent. */
  constructor(base: string, environment: Environment, credentials: Credentials, mode: RequestCredentials) {
    this.#base = base;
    this.#environment = environment;
    this.#credentials = credentials;
    this.#mode = mode;
  }

  /**
   * Send a request and return the JSON of its answer.
   *
   * @param path - Relative to the hub's HTTP interface; a leading slash is ignored.
   * @throws {@link ConfigError} for a path that leads elsewhere, {@link HubError} for a refusal,
   *   {@link HubUnreachableError}, {@link NotAHubError} for another content, and the reason of `options.signal`.
   */
  async request<T>(path: string, options: RequestOptions = {}): Promise<T> {
    const answer = await this.send(path, options);
    const type = answer.headers.get("Content-Type") ?? "";
    if (answer.status === 204) return null as T;
    if (!type.includes("json")) throw new NotAHubError(`the answer is ${type || "not JSON"}, not a hub's`);
    try {
      return (await answer.json()) as T;
    } catch (cause) {
      options.signal?.throwIfAborted();
      throw new HubUnreachableError("the answer of the hub broke off", "Try again.", cause);
    }
  }

  /** Send a request and return its answer, which is not an error. Throws as `request`. */
  async send(path: string, options: RequestOptions = {}): Promise<Response> {
    const url = new URL(path.replace(/^\/+/, ""), this.#base);
    // The token is for this hub alone, and a path may come from an event.
    if (!url.href.startsWith(this.#base)) throw new ConfigError(`invalid path '${path}': expected one of the hub`);
    for (const [name, value] of Object.entries(options.query ?? {})) {
      for (const each of Array.isArray(value) ? value : [value]) {
        if (each !== undefined) url.searchParams.append(name, String(each));
      }
    }
    const token = await this.#credentials.get();
    const answer = await this.fetch(url, options, token);
    if (answer.status === 401 && token !== undefined && this.#credentials.renewable) {
      const another = await this.#credentials.get(token);
      if (another !== token) return checked(await this.fetch(url, options, another), url);
    }
    return checked(answer, url);
  }

  /** Send a request; the answer may be an error. */
  async fetch(url: URL, options: RequestOptions, token: string | undefined): Promise<Response> {
    const { body, signal } = options;
    const { fetch } = this.#environment;
    if (fetch === undefined) throw new ConfigError("this platform has no fetch", "Pass the option `fetch`.");
    try {
      return await fetch(url, {
        method: options.method ?? (body === undefined ? "GET" : "POST"),
        credentials: this.#mode,
        cache: "no-store",
        // Not every `fetch` takes the token off a request that is redirected to another origin.
        redirect: token === undefined ? "follow" : "error",
        headers: {
          Accept: "application/json",
          ...(body === undefined ? {} : { "Content-Type": "application/json" }),
          ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
          ...options.headers,
        },
        body: body === undefined ? null : JSON.stringify(body),
        signal: signal ?? null,
      });
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      if (cause instanceof TidingsError) throw cause;
      throw new HubUnreachableError(`no readable answer from ${url.origin}`, UNREACHABLE_HINT, cause);
    }
  }
}

/**
 * Return the JSON of an answer of a hub, if it has the field that such an answer has.
 *
 * @throws {@link NotAHubError} if it has not: another server answers at the URL.
 */
export function withField<T>(answer: T, field: keyof T & string): T {
  const value = (answer as T | null)?.[field] ?? undefined;
  if (value === undefined) throw new NotAHubError(`the answer has no \`${field}\``);
  return answer;
}

async function checked(answer: Response, url: URL): Promise<Response> {
  if (answer.ok) return answer;
  const { status } = answer;
  const data = await readErrorData(answer);
  if (data !== undefined) throw makeHubError(data, status);
  if (status === 401) {
    const message = "a server before the hub asks for a credential";
    throw new CredentialError({ code: "unauthenticated", message, recoverable: false, hint: "Sign in there." }, status);
  }
  throw new HandshakeRefusedError(
    `${url.pathname} is answered with ${status}, not by a hub`,
    status,
    status >= 500 ? "The hub, or a proxy before it, is not ready." : "Check the path of the URL, and the proxy.",
  );
}

async function readErrorData(answer: Response): Promise<ErrorData | undefined> {
  try {
    const data: unknown = await answer.json();
    if (typeof data === "object" && data !== null && "code" in data && "message" in data) return data as ErrorData;
  } catch {}
  return undefined;
}
