import type { JSX } from "preact";
import "./log.css";

/** The page. */
export function LogPage(): JSX.Element {
  return <h1>Log</h1>;
}
