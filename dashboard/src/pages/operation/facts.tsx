/** Where an operation ran, its result, and the commands for it. */

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { now } from "../../clock.ts";
import { formatPreciseSpan, formatSpan } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { Age } from "../../parts/age.tsx";
import { CopyButton, CopyLine } from "../../parts/copy.tsx";
import { Lock } from "../../parts/lock.tsx";
import { useFloating } from "../../parts/popup.tsx";
import { Go, hrefOf } from "../../router.tsx";
import { mayDo } from "../../session.ts";
import type { Command } from "./commands.ts";
import type { OperationDetail } from "./detail.ts";
import { linksFor } from "./link-templates.ts";
import { LinkEditor, linkTemplates, ownTemplates } from "./links-editor.tsx";

interface DetailProps {
  readonly detail: OperationDetail;
}

/** Where it ran. */
export function Facts({ detail }: DetailProps): JSX.Element {
  const { host, pid, user, command, producer_id: producer, parent_id: parent, resumes, trace_id: trace } = detail;
  const where = [plain(host), pid === undefined ? "" : `process ${pid}`, user ? `by ${plain(user)}` : ""];
  const ran = where.filter(Boolean).join(", ");
  return (
    <section class="sec frozen" aria-labelledby="h-where">
      <header>
        <h2 id="h-where">Where it ran</h2>
      </header>
      <dl class="facts">
        <Fact label="Host">{ran}</Fact>
        <Fact label="Command" isCode>
          {plain(command)}
        </Fact>
        <Fact label="Producer" isCode>
          {plain(producer)}
        </Fact>
        <Fact label="Lease">{detail.lease_s === undefined ? "" : formatSpan(detail.lease_s)}</Fact>
        <Fact label="Queued">{detail.queued_at === undefined ? "" : <Age at={detail.queued_at} />}</Fact>
        <Fact label="Began">{detail.started_at === undefined ? "" : <Age at={detail.started_at} />}</Fact>
        <Fact label="Ended">{detail.ended_at === undefined ? "" : <Age at={detail.ended_at} />}</Fact>
        <Fact label="Took">{detail.duration_s === undefined ? "" : formatPreciseSpan(detail.duration_s)}</Fact>
        <Fact label="Part of" isCode>
          {parent === undefined ? "" : <Go href={hrefOf("operation", { id: parent })}>{plain(parent)}</Go>}
        </Fact>
        <Fact label="Resumes" isCode>
          {resumes === undefined ? "" : <Go href={hrefOf("operation", { id: resumes })}>{plain(resumes)}</Go>}
        </Fact>
        <Fact label="Trace" isCode>
          <Go href={hrefOf("trace", { id: trace })}>{plain(trace)}</Go>
        </Fact>
        {Object.entries(detail.metadata ?? {}).map(([name, value]) => (
          <Fact key={name} label={plain(name)}>
            {typeof value === "string" ? plain(value) : JSON.stringify(value)}
          </Fact>
        ))}
        <Links detail={detail} />
      </dl>
      {mayDo("details") ? null : <Lock grant="details" what="Seeing host, command and user" />}
    </section>
  );
}

interface FactProps {
  readonly label: string;
  readonly isCode?: boolean;
  readonly children: JSX.Element | string;
}

/** A name and its value; nothing without a value. */
function Fact({ label, isCode, children }: FactProps): JSX.Element | null {
  if (children === "") return null;
  return (
    <>
      <dt class="cut" title={label}>
        {label}
      </dt>
      <dd class={isCode === true ? "mono" : undefined}>{children}</dd>
    </>
  );
}

function Links({ detail }: DetailProps): JSX.Element {
  const at = useFloating();
  const links = linksFor(detail, linkTemplates.value, now.peek());
  return (
    <>
      <dt>Links</dt>
      <dd>
        {links.map(({ label, href }, index) => (
          <span key={`${label} ${href}`}>
            {index > 0 ? ", " : ""}
            <a href={href} target="_blank" rel="noopener noreferrer">
              {plain(label)}
            </a>
          </span>
        ))}
        <button
          ref={at.anchor}
          type="button"
          class="btn plain small"
          title="Links to a trace viewer, a log search, a runbook"
          onClick={at.toggle}
        >
          {ownTemplates.value.length === 0 ? "Add links" : "Change"}
        </button>
        <LinkEditor at={at} />
      </dd>
    </>
  );
}

/** Characters of a result that are shown unasked. */
const SHORT_RESULT = 2_000;

/** The result; nothing without one. */
export function Result({ detail }: DetailProps): JSX.Element | null {
  const isWhole = useSignal(false);
  if (detail.result === undefined || detail.result === null) return null;
  const text = typeof detail.result === "string" ? detail.result : JSON.stringify(detail.result, null, 2);
  const isCut = text.length > SHORT_RESULT && !isWhole.value;
  return (
    <section class="sec frozen" aria-labelledby="h-result">
      <header>
        <h2 id="h-result">Result</h2>
        <span class="grow" />
        <CopyButton text={text} label="Copy the result" />
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <pre class="result" tabIndex={0}>
        {isCut ? `${text.slice(0, SHORT_RESULT)}…` : text}
      </pre>
      {isCut ? (
        <button type="button" class="btn plain" onClick={() => (isWhole.value = true)}>
          Show all of it
        </button>
      ) : null}
    </section>
  );
}

/** The commands, to copy. */
export function Commands({ commands }: { readonly commands: readonly Command[] }): JSX.Element {
  return (
    <section class="sec" aria-labelledby="h-cli">
      <header>
        <h2 id="h-cli">On the command line</h2>
      </header>
      {commands.map(({ label, text }) => (
        <CopyLine key={label} text={text} label={`Copy: ${label}`} />
      ))}
    </section>
  );
}
