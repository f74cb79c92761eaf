import type { JSX } from "preact";
import "./first.css";

/** The page. */
export function OperationsPage(): JSX.Element {
  return <h1>Operations</h1>;
}
