/** The shell: what is around every page. */

import { untracked, useSignalEffect } from "@preact/signals";
import type { ComponentType, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { announcement, linkAnnouncement } from "./announcer.ts";
import { connection } from "./hub.ts";
import { type Command, handleKey, useCommands } from "./keys.ts";
import { OperationsPage } from "./pages/operations/page.tsx";
import { SignInPage } from "./pages/sign-in/page.tsx";
import { lazyPage, loadWhenIdle } from "./parts/lazy.tsx";
import { Panel } from "./parts/panel.tsx";
import { hrefOf, navigate, PATHS, Route, Routes, Switch } from "./router.tsx";
import { needsSignIn } from "./session.ts";
import { Banners } from "./shell/banners.tsx";
import { Header } from "./shell/header.tsx";
import { Help, isHelpOpen } from "./shell/help.tsx";

/** The pages that are not needed for the list of operations, in the order in which they are probably opened. */
const LAZY = {
  operation: lazyPage(async () => (await import("./pages/operation/page.tsx")).OperationPage),
  log: lazyPage(async () => (await import("./pages/log/page.tsx")).LogPage),
  names: lazyPage(async () => (await import("./pages/names/page.tsx")).NamesPage),
  name: lazyPage(async () => (await import("./pages/names/name-page.tsx")).NamePage),
  events: lazyPage(async () => (await import("./pages/events/page.tsx")).EventsPage),
  trace: lazyPage(async () => (await import("./pages/events/trace-page.tsx")).TracePage),
  system: lazyPage(async () => (await import("./pages/system/page.tsx")).SystemPage),
  wall: lazyPage(async () => (await import("./pages/wall/page.tsx")).WallPage),
};

/** The whole page. */
export function App(): JSX.Element {
  useSignalEffect(() => {
    if (connection.value.state === "live") untracked(() => loadWhenIdle(Object.values(LAZY)));
  });
  return (
    <Routes>
      <Route path={PATHS.wall}>
        <Panel what="the wall">
          <LAZY.wall.Page />
        </Panel>
      </Route>
      <Route>
        <Framed />
      </Route>
    </Routes>
  );
}

/** A page with the top and the navigation around it. */
function Framed(): JSX.Element {
  useCommands(COMMANDS);
  useGlobalKeys();
  useSignInFirst();
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <Header />
      <div role="status">
        <Banners />
      </div>
      <main id="main" tabIndex={-1}>
        <Switch>
          {page(PATHS.operations, "the list of operations", OperationsPage)}
          {page(PATHS.operation, "the operation", LAZY.operation.Page)}
          {page(PATHS.log, "the log", LAZY.log.Page)}
          {page(PATHS.names, "the names", LAZY.names.Page)}
          {page(PATHS.name, "the name", LAZY.name.Page)}
          {page(PATHS.events, "the events", LAZY.events.Page)}
          {page(PATHS.trace, "the trace", LAZY.trace.Page)}
          {page(PATHS.system, "the system", LAZY.system.Page)}
          {page(PATHS.signIn, "signing in", SignInPage)}
          <Route>
            <NoSuchPage />
          </Route>
        </Switch>
      </main>
      <Help />
      <p class="sr" role="status" aria-live="polite">
        {announcement}
      </p>
      <p class="sr" role="status" aria-live="polite">
        {linkAnnouncement}
      </p>
    </>
  );
}

function page(path: string, what: string, Page: ComponentType): JSX.Element {
  return (
    <Route key={path} path={path}>
      <Panel what={what}>
        <Page />
      </Panel>
    </Route>
  );
}

function NoSuchPage(): JSX.Element {
  return (
    <div class="head">
      <h1>No such page</h1>
      <p class="sentence">
        This address leads nowhere. <a href={hrefOf("operations")}>All operations</a> are at the beginning.
      </p>
    </div>
  );
}

const COMMANDS: readonly Command[] = [
  { keys: ["g o"], does: "operations", run: () => navigate(hrefOf("operations")) },
  { keys: ["g n"], does: "names", run: () => navigate(hrefOf("names")) },
  { keys: ["g e"], does: "events", run: () => navigate(hrefOf("events")) },
  { keys: ["g s"], does: "system", run: () => navigate(hrefOf("system")) },
  {
    keys: ["?"],
    does: "this table",
    run: () => {
      isHelpOpen.value = true;
    },
  },
];

function useGlobalKeys(): void {
  useEffect(() => {
    document.addEventListener("keydown", handleKey);
    return () => document.removeEventListener("keydown", handleKey);
  }, []);
}

/** Leads to the page for signing in, and from there back to where the reader was. */
function useSignInFirst(): void {
  const [path] = useLocation();
  const current = useRef(path);
  current.current = path;
  useSignalEffect(() => {
    if (!needsSignIn.value || current.current === PATHS.signIn) return;
    const back = `${current.current.slice(1)}${location.search}`;
    navigate(hrefOf("signIn", { back }), { replace: true });
  });
}
