/** Pages that are loaded when they are opened, or when the browser has nothing else to do. */

import type { ComponentType, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { connection } from "../hub.ts";
import { Skeleton } from "./panel.tsx";

/** A page of which the code may not be loaded yet. */
export interface LazyPage {
  readonly Page: ComponentType;
  /** Loads the code; rejects if its file cannot be fetched. */
  load(): Promise<void>;
}

/** Why a page could not be loaded, in the form that {@link Panel} shows. */
class PageNotLoaded extends Error {
  readonly hint = "Reload this page: the hub may have been upgraded, or be away.";

  constructor(cause: unknown) {
    super("its file could not be loaded", { cause });
  }
}

/** Returns a page that `fetchPage` imports when it is needed. It throws {@link PageNotLoaded} for the panel around it. */
export function lazyPage(fetchPage: () => Promise<ComponentType>): LazyPage {
  let Loaded: ComponentType | undefined;
  const load = async () => {
    Loaded ??= await fetchPage();
  };
  function Page(): JSX.Element {
    const [error, setError] = useState<PageNotLoaded>();
    const [, setLoaded] = useState(Loaded !== undefined);
    useEffect(() => {
      let gone = false;
      if (Loaded === undefined) {
        load().then(
          () => gone || setLoaded(true),
          (cause: unknown) => gone || reloadOnce() || setError(new PageNotLoaded(cause)),
        );
      }
      return () => {
        gone = true;
      };
    }, []);
    if (error !== undefined) throw error;
    return Loaded === undefined ? <Skeleton /> : <Loaded />;
  }
  return { Page, load };
}

/** Key of the time of the last reload in the session's storage, and how soon another one would not help, in ms. */
const RELOADED = "tidings.reloaded";
const RELOAD_MS = 60_000;

/**
 * Loads the whole page again, where a file is missing although the hub answers: an upgrade has replaced it, or it was
 * asked for while the network was away, which WebKit does not forget. Returns false if that was tried a moment ago.
 */
function reloadOnce(): boolean {
  if (connection.value.state !== "live") return false;
  try {
    if (Date.now() - Number(sessionStorage.getItem(RELOADED) ?? 0) < RELOAD_MS) return false;
    sessionStorage.setItem(RELOADED, String(Date.now()));
  } catch {
    return false; // without storage, it might reload for ever
  }
  location.reload();
  return true;
}

/** Loads all `pages` when the browser is idle, so that they open at once, also while the hub is away or was upgraded. */
export function loadWhenIdle(pages: readonly LazyPage[]): void {
  const [page, ...others] = pages;
  if (page === undefined) return;
  const next = () => loadWhenIdle(others);
  // Safari has no `requestIdleCallback`.
  const idle = globalThis.requestIdleCallback ?? ((callback: () => void) => setTimeout(callback, 1000));
  idle(() => void page.load().then(next, () => undefined));
}
