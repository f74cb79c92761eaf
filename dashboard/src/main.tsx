import { render } from "preact";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/lists.css";
import "./styles/sections.css";
import "./styles/shell.css";
import { App } from "./app.tsx";
import { watchAttention } from "./attention.ts";
import { keepTitle } from "./page-title.ts";
import { watchAwaited } from "./pages/operation/notify.ts";
import { beginSession } from "./session.ts";

const root = document.getElementById("app");
if (root === null) throw new Error("the page has no element #app");
beginSession();
watchAttention();
keepTitle();
watchAwaited();
render(<App />, root);
