import type { JSX } from "preact";
import "./operation.css";

/** The page. */
export function OperationPage(): JSX.Element {
  return <h1>Operation</h1>;
}
