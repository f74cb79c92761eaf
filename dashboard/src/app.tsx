/** The shell: what is around every page. */

import { signal, useSignalEffect } from "@preact/signals";
import type { ComponentType, JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { announcement, linkAnnouncement } from "./announcer.ts";
import { now } from "./clock.ts";
import { formatFullTime } from "./format/time.ts";
import { type Command, handleKey, useCommands } from "./keys.ts";
import { laterPage } from "./pages/later.tsx";
import { OperationsPage } from "./pages/operations/page.tsx";
import { SignInPage } from "./pages/sign-in/page.tsx";
import { Panel } from "./parts/panel.tsx";
import { hrefOf, navigate, PATHS, Route, Routes, Switch } from "./router.tsx";
import { needsSignIn } from "./session.ts";
import { zone } from "./settings.ts";
import { Banners } from "./shell/banners.tsx";
import { Header } from "./shell/header.tsx";
import { Help, isHelpOpen } from "./shell/help.tsx";

/** When the page is printed: paper has no clock. */
const printedAt = signal("");
addEventListener("beforeprint", () => {
  printedAt.value = `as it was at ${formatFullTime(now.peek(), zone.peek())}`;
});

const Operation = laterPage("OperationPage", "the operation");
const Log = laterPage("LogPage", "the log");
const Names = laterPage("NamesPage", "the names");
const Name = laterPage("NamePage", "the name");
const Events = laterPage("EventsPage", "the events");
const Trace = laterPage("TracePage", "the trace");
const System = laterPage("SystemPage", "the system");
const Wall = laterPage("WallPage", "the wall");

/** The whole page. */
export function App(): JSX.Element {
  return (
    <Routes>
      <Route path={PATHS.wall}>
        <Panel what="the wall">
          <Wall />
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
      <p class="printed">
        {location.host}, {printedAt}
      </p>
      <div role="status">
        <Banners />
      </div>
      <main id="main" tabIndex={-1}>
        <Switch>
          {page(PATHS.operations, "the list of operations", OperationsPage)}
          {page(PATHS.operation, "the operation", Operation)}
          {page(PATHS.log, "the log", Log)}
          {page(PATHS.names, "the names", Names)}
          {page(PATHS.name, "the name", Name)}
          {page(PATHS.events, "the events", Events)}
          {page(PATHS.trace, "the trace", Trace)}
          {page(PATHS.system, "the system", System)}
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
  useLayoutEffect(() => {
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
