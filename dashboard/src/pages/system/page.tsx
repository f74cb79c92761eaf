import type { JSX } from "preact";
import "./system.css";

/** The page. */
export function SystemPage(): JSX.Element {
  return <h1>System</h1>;
}
