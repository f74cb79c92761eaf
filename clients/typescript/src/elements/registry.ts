/** The clients of the elements on a page: one for each hub, which all copies of this module share. */

import { ConfigError } from "../errors.ts";
import { connect } from "../index.ts";
import type { ConnectOptions, Hub } from "../options.ts";
import { resolveHubUrl } from "../url.ts";

export interface ElementsOptions extends ConnectOptions {
  /** URL of the hub; default the one that served `elements.js`, else the page's own. */
  url?: string | URL | undefined;
}

/** The connection of the elements without a `url` of their own. */
export interface Registry {
  /** Connects the elements to a hub from now on, and returns its client. */
  connect(options?: ElementsOptions): Hub;
  /** Returns the client for an element: of the hub at `url`, or of the one of `connect`. @internal */
  hubFor(url: string | null): Hub;
  /** Calls `listener` after each `connect`. @internal */
  changed(listener: () => void): () => void;
  /** The hub that served the elements. @internal */
  servedBy: string | undefined;
}

const KEY = Symbol.for("tidings.elements");

/** Returns the registry of the page. It may be one that another copy of this module has made. */
export function findRegistry(): Registry {
  const page = globalThis as { [KEY]?: Registry };
  page[KEY] ??= makeRegistry();
  return page[KEY];
}

function makeRegistry(): Registry {
  const hubs = new Map<string, Hub>();
  const listeners = new Set<() => void>();
  let own: Hub | undefined;
  const registry: Registry = {
    servedBy: undefined,
    connect({ url = registry.servedBy, ...options } = {}) {
      const next = connect(url, options); // before the one that exists is closed: the URL or the token may be invalid
      own?.close();
      own = next;
      for (const listener of [...listeners]) listener();
      return own;
    },
    hubFor(url) {
      if (url === null) {
        own ??= connect(registry.servedBy);
        return own;
      }
      const { websocket: address } = resolveHubUrl(url, document.baseURI);
      const hub = hubs.get(address) ?? connect(address);
      hubs.set(address, hub);
      return hub;
    },
    changed(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  return registry;
}

/** Returns what is wrong with the connection of an element, and what to do; "" if nothing is. */
export function describeFault(error: unknown): string {
  if (error instanceof ConfigError || (error instanceof Error && "hint" in error)) {
    return [error.message, String(error.hint)].filter(Boolean).join(". ");
  }
  return error === undefined ? "" : String(error);
}
