import type { JSX } from "preact";
import "./events.css";

/** The page. */
export function EventsPage(): JSX.Element {
  return <h1>Events</h1>;
}
