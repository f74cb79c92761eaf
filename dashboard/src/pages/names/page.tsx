import type { JSX } from "preact";
import "./names.css";

/** The page. */
export function NamesPage(): JSX.Element {
  return <h1>Names</h1>;
}
