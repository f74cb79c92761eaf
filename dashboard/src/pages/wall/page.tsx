import type { JSX } from "preact";
import "./wall.css";

/** The page. */
export function WallPage(): JSX.Element {
  return <h1>Wall</h1>;
}
