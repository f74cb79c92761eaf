import type { JSX } from "preact";
import "./events.css";

/** The page. */
export function TracePage(): JSX.Element {
  return <h1>Trace</h1>;
}
