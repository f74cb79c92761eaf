import type { JSX } from "preact";
import "./names.css";

/** The page. */
export function NamePage(): JSX.Element {
  return <h1>Name</h1>;
}
