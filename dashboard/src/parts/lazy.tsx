/** Pages that are loaded when they are opened, or when the browser has nothing else to do. */

import type { ComponentType, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
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
          (cause: unknown) => gone || setError(new PageNotLoaded(cause)),
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

/** Loads all `pages` when the browser is idle, so that they open at once, also while the hub is away or was upgraded. */
export function loadWhenIdle(pages: readonly LazyPage[]): void {
  const [page, ...others] = pages;
  if (page === undefined) return;
  const next = () => loadWhenIdle(others);
  // Safari has no `requestIdleCallback`.
  const idle = globalThis.requestIdleCallback ?? ((callback: () => void) => setTimeout(callback, 1000));
  idle(() => void page.load().then(next, next));
}
