/**
 * The pages besides the list of operations, which are one file: it is loaded as soon as the list is there, so that a
 * page opens at once, also where the network has been lost, or the hub upgraded, since then.
 */

import { effect } from "@preact/signals";
import type { ComponentType, JSX } from "preact";
import { useEffect } from "preact/hooks";
import { connection } from "../hub.ts";
import { LaterPart } from "../later-part.ts";
import { PanelError, Skeleton } from "../parts/panel.tsx";

type Pages = typeof import("./rest.ts");

const pages = new LaterPart<Pages>(() => import("./rest.ts"));

/** Load the pages now; one that did not load says so itself. */
export const loadPages = (): Promise<void> => pages.load();

/** Load the pages when the first one is live: what it shows comes first. */
export function loadPagesSoon(): void {
  const stop = effect(() => {
    if (connection.value.state === "live") queueMicrotask(load);
  });
  function load(): void {
    stop();
    void pages.load();
  }
}

/**
 * Returns the component of a page that may not be loaded yet.
 *
 * @param what - What it shows, for its error: `the operation`.
 */
export function laterPage(name: keyof Pages, what: string): ComponentType {
  return function LaterPage(): JSX.Element {
    useEffect(() => void pages.load(), []);
    const Page = pages.value.value?.[name];
    if (Page !== undefined) return <Page />;
    if (!pages.isMissing.value) return <Skeleton label={`Loading ${what}`} />;
    return <PanelError what={what} error={NOT_LOADED} onRetry={() => location.reload()} />;
  };
}

const NOT_LOADED = {
  message: "a part of the dashboard did not load",
  hint: "Load the page again: the network was lost, or the hub was upgraded.",
};
