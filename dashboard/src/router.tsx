/** Addresses of the pages. All links are made here. */

import type { ComponentChildren, JSX } from "preact";
import { useMemo } from "preact/hooks";
import { Route, Router, Switch } from "wouter-preact";
import { navigate as go, useSearch } from "wouter-preact/use-browser-location";
import { mountPoint } from "./mount.ts";

/** Paths of the pages, relative to the mount point. The hub answers the same ones with the page. */
export const PATHS = {
  operations: "/",
  operation: "/operation",
  log: "/log",
  names: "/names",
  name: "/name",
  events: "/events",
  trace: "/trace",
  system: "/system",
  wall: "/wall",
  signIn: "/signin",
} as const;

export type PageName = keyof typeof PATHS;

/** The query of an address; parameters that are undefined or empty are left out, and arrays repeat theirs. */
export type Query = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Address of a page: `hrefOf("operation", { id: "import-1" })`. */
export function hrefOf(page: PageName, query: Query = {}): string {
  const search = searchOf(query);
  return mountPoint + PATHS[page] + (search === "" ? "" : `?${search}`);
}

function searchOf(query: Query): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of typeof value === "string" ? [value] : (value ?? [])) {
      if (each !== "") search.append(name, each);
    }
  }
  return search.toString();
}

/** Opens an address of {@link hrefOf}, as its link does. */
export function navigate(href: string, options: { readonly replace?: boolean } = {}): void {
  go(href, options);
}

/**
 * The query of the address. It is read as the browser has it: the router's own hook decodes it before it is split, and
 * an id may hold an encoded `&` or `%`.
 */
export function useQuery(): URLSearchParams {
  const search = useSearch();
  return useMemo(() => new URLSearchParams(search), [search]);
}

/** Properties of {@link Go}. */
export interface GoProps extends Omit<JSX.HTMLAttributes<HTMLAnchorElement>, "href" | "onClick"> {
  readonly href: string;
  readonly children?: ComponentChildren;
}

/** A real link to a page of the dashboard, opened without reloading it. */
export function Go({ href, children, ...rest }: GoProps): JSX.Element {
  return (
    <a {...rest} href={href} onClick={follow}>
      {children}
    </a>
  );
}

/** Opens the link of a click without reloading the page, unless the reader wants a new tab or a download. */
export function follow(event: JSX.TargetedMouseEvent<HTMLAnchorElement>): void {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  navigate(event.currentTarget.getAttribute("href") ?? hrefOf("operations"));
}

/** Shows one of its routes: the first whose path is that of the address. */
export function Routes({ children }: { readonly children: ComponentChildren }): JSX.Element {
  return (
    <Router base={mountPoint}>
      <Switch>{children}</Switch>
    </Router>
  );
}

export { Route, Switch };
