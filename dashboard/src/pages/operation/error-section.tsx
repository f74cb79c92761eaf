/** The error of an operation: code, message, what to do, and where the log says more. */

import type { JSX } from "preact";
import { counted } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { formatClock } from "../../format/time.ts";
import { CopyButton } from "../../parts/copy.tsx";
import { Hint } from "../../parts/hint.tsx";
import { Go, hrefOf } from "../../router.tsx";
import { zone } from "../../settings.ts";
import type { LogLine } from "../log/log-model.ts";
import type { OperationDetail } from "./detail.ts";
import type { ErrorContext } from "./error-text.ts";

export interface ErrorSectionProps {
  readonly detail: OperationDetail;
  readonly context: ErrorContext<LogLine> | undefined;
  readonly markdown: () => string;
}

/** The section; nothing without an error. */
export function ErrorSection({ detail, context, markdown }: ErrorSectionProps): JSX.Element | null {
  const { error } = detail;
  if (!error) return null;
  const lines = error.details ? error.details.replace(/\n+$/, "").split("\n").length : 0;
  return (
    <section class="sec error frozen" aria-label="Error">
      <div class="error-copy">
        <CopyButton text={markdown} label="Copy the error as Markdown" />
      </div>
      <p class="what">
        <code>{plain(error.code)}</code>
        <span>{error.message}</span>
      </p>
      {error.hint ? (
        <p class="hint">
          <b>What to do:</b> <Hint text={error.hint} />
        </p>
      ) : null}
      {error.details ? (
        <details>
          <summary>Details, {counted(lines, "line")}</summary>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
          <pre tabIndex={0}>{error.details}</pre>
        </details>
      ) : null}
      {context === undefined ? null : (
        <details open>
          <summary>Last error in the log</summary>
          <ol class="excerpt">
            {context.lines.map((line, index) => (
              <li key={line.number} class={index === context.index ? "l-error" : ""}>
                <Go href={hrefOf("log", { id: detail.operation_id, line: line.position })}>
                  {Number.isNaN(line.at) ? "" : formatClock(line.at, zone.value)}
                </Go>
                <span class="msg">{line.text}</span>
              </li>
            ))}
          </ol>
        </details>
      )}
    </section>
  );
}
