import { render } from "preact";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/lists.css";
import "./styles/sections.css";
import "./styles/shell.css";

const root = document.getElementById("app");
if (root !== null) render(<h1>tidings</h1>, root);
