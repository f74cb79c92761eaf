/** Addresses of a hub. */
import { ConfigError } from "./errors.ts";

const SCHEME = /^(ws|http)(s?):$/;
const SECRET = /^((access_|auth_)?token|jwt|api_?key)$/i;

export interface Addresses {
  /** URL of the WebSocket. */
  readonly websocket: string;
  /** URL of the HTTP interface, with a slash at its end. */
  readonly http: string;
}

/**
 * Return the addresses of the hub at `url`.
 *
 * `http`, `https` and relative URLs name the prefix of the hub's paths. The path of a `ws` or `wss` URL is the
 * WebSocket's own; one that is empty or ends with a slash is a prefix, too.
 *
 * @param base - What a relative URL is relative to; undefined outside of a page.
 * @throws {@link ConfigError} when the URL is invalid, or contains a credential.
 */
export function resolveHubUrl(url: string | URL, base?: string): Addresses {
  const parsed = parse(url, base);
  const scheme = SCHEME.exec(parsed?.protocol ?? "");
  if (parsed === undefined || scheme === null || parsed.host === "") {
    throw new ConfigError(`invalid hub URL '${url}'`, "Use the URL of a hub, such as http://127.0.0.1:8765/.");
  }
  if (parsed.username || parsed.password || [...parsed.searchParams.keys()].some((name) => SECRET.test(name))) {
    throw new ConfigError("invalid hub URL: a token in a URL ends in logs", "Pass it as the option `token`.");
  }
  parsed.hash = "";
  const [, kind, secure] = scheme;
  const prefixed = kind === "http" || parsed.pathname.endsWith("/");
  const path = parsed.pathname.replace(/\/+$/, "");
  const websocket = new URL(parsed);
  websocket.pathname = prefixed && !path.endsWith("/ws") ? `${path}/ws` : path;
  websocket.protocol = `ws${secure}:`;
  const http = new URL(websocket);
  http.protocol = `http${secure}:`;
  http.pathname = http.pathname.replace(/[^/]*$/, "");
  http.search = "";
  return { websocket: websocket.href, http: http.href };
}

function parse(url: string | URL, base: string | undefined): URL | undefined {
  try {
    return new URL(url, base);
  } catch {
    return undefined;
  }
}
