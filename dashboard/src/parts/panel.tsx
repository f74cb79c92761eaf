/** A part of a page whose error does not blank the rest, and whose loading shows nothing for a moment. */

import { Component, type ComponentChildren, type JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { toSentence } from "../format/text.ts";
import { Hint } from "./hint.tsx";
import { Icon } from "./icon.tsx";

/** Properties of {@link Panel}. */
export interface PanelProps {
  /** What the panel shows, for its error: `the list of operations`. */
  readonly what: string;
  readonly children: ComponentChildren;
}

interface PanelState {
  readonly error: unknown;
}

/** Shows its children, or the error that one of them threw. */
export class Panel extends Component<PanelProps, PanelState> {
  override state: PanelState = { error: undefined };

  static override getDerivedStateFromError(error: unknown): PanelState {
    return { error };
  }

  override componentDidCatch(error: unknown): void {
    reportError(error);
  }

  render({ what, children }: PanelProps, { error }: PanelState): ComponentChildren {
    if (error === undefined) return children;
    return <PanelError what={what} error={error} onRetry={() => this.setState({ error: undefined })} />;
  }
}

/** Properties of {@link PanelError}. */
export interface PanelErrorProps {
  readonly what: string;
  readonly error: unknown;
  readonly onRetry: () => unknown;
}

/** An error in the place of what could not be shown. */
export function PanelError({ what, error, onRetry }: PanelErrorProps): JSX.Element {
  const { code, message, hint } = errorFacts(error);
  if (isOpening(error)) return <Skeleton label={`Waiting for the hub to show ${what}`} />;
  return (
    <div class="panel-error" role="alert">
      <Icon name="error" />
      <div>
        <p>
          <b>Cannot show {what}.</b> {code ? <code>{code}</code> : null} {toSentence(message)}
        </p>
        {hint ? (
          <p>
            <b>What to do:</b> <Hint text={hint} />
          </p>
        ) : null}
        <button type="button" class="btn" onClick={onRetry}>
          Try again
        </button>
      </div>
    </div>
  );
}

/** Whether the hub is opening its log: the banner says so, and pages read again when the link is live. */
export function isOpening(error: unknown): boolean {
  return errorFacts(error).code === "log_opening";
}

/** Code, message and hint of whatever was thrown. */
export function errorFacts(error: unknown): { readonly code: string; readonly message: string; readonly hint: string } {
  const facts: { code?: unknown; message?: unknown; hint?: unknown } =
    typeof error === "object" && error !== null ? error : { message: String(error) };
  const text = (value: unknown) => (typeof value === "string" ? value : "");
  return { code: text(facts.code), message: text(facts.message), hint: text(facts.hint) };
}

/** Milliseconds before a skeleton is shown: what arrives sooner should not flicker. */
const SKELETON_MS = 200;

/** Grey lines in the place of rows that are not loaded yet, after 200 ms. */
export function Skeleton({
  rows = 8,
  label = "Loading",
}: {
  readonly rows?: number;
  readonly label?: string;
}): JSX.Element | null {
  const [isShown, show] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => show(true), SKELETON_MS);
    return () => clearTimeout(timer);
  }, []);
  if (!isShown) return null;
  return (
    <div class="skeleton" role="status" aria-label={label}>
      {Array.from({ length: rows }, (_, index) => (
        <div key={index} class="lrow" />
      ))}
    </div>
  );
}
