import "./language.ts";
import { render } from "preact";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/lists.css";
import "./styles/sections.css";
import "./styles/shell.css";
import { App } from "./app.tsx";
import { watchAttention } from "./attention.ts";
import { announceEnds } from "./ends.ts";
import { keepTitle } from "./page-title.ts";
import { loadPages, loadPagesSoon } from "./pages/later.tsx";
import { watchAwaited } from "./pages/operation/notify.ts";
import { hrefOf } from "./router.tsx";
import { beginSession } from "./session.ts";
import { announceLink } from "./shell/link.tsx";

/** Draws the page, and begins what goes on beside it. */
function start(): void {
  const root = document.getElementById("app");
  if (root === null) throw new Error("the page has no element #app");
  beginSession();
  watchAttention();
  announceEnds();
  announceLink();
  keepTitle();
  watchAwaited();
  render(<App />, root);
  loadPagesSoon();
}

// Another page than the first is there when the link becomes live, which would otherwise catch up once more for it.
const isFirst = [hrefOf("operations"), hrefOf("signIn")].includes(location.pathname);
if (isFirst) start();
else void loadPages().then(start);
