/** The top of the page of an operation: its name, the sentence, and what can be done. */

import { type ReadonlySignal, useComputed } from "@preact/signals";
import type { JSX } from "preact";
import { useMemo, useRef } from "preact/hooks";
import { announce } from "../../announcer.ts";
import { now } from "../../clock.ts";
import { isLive, lookOf, nameOf, percentOf } from "../../format/operation.ts";
import { plain } from "../../format/text.ts";
import { useCommands } from "../../keys.ts";
import { Bar } from "../../parts/bar.tsx";
import { copyText } from "../../parts/copy.tsx";
import { Icon, StateIcon } from "../../parts/icon.tsx";
import { Menu } from "../../parts/menu.tsx";
import { Go, hrefOf } from "../../router.tsx";
import { lastListHref } from "../operations/last-list.ts";
import { CancelButton } from "./cancel-button.tsx";
import type { Command } from "./commands.ts";
import type { OperationDetail } from "./detail.ts";
import { NotifyButton } from "./notify-button.tsx";
import { afterwordOf, sentenceOf } from "./sentence.ts";

export interface HeadProps {
  readonly detail: ReadonlySignal<OperationDetail>;
  readonly commands: readonly Command[];
  readonly markdown: () => string;
}

/** The top. Progress changes its texts and its bar, and renders nothing. */
export function Head({ detail, commands, markdown }: HeadProps): JSX.Element {
  const look = useComputed(() => lookOf(detail.value));
  const name = useComputed(() => nameOf(detail.value));
  const runs = useComputed(() => plain(detail.value.name));
  const id = useComputed(() => detail.value.operation_id);
  const isRunning = useComputed(() => isLive(detail.value));
  const hasError = useComputed(() => Boolean(detail.value.error));
  const sentence = useComputed(() => sentenceOf(detail.value, now.value));
  const head = useComputed(() => sentence.value.head);
  const rest = useComputed(() => {
    const after = afterwordOf(detail.value, now.value);
    return after === "" ? sentence.value.rest : `${sentence.value.rest}. ${after}`;
  });
  const first = useRef("");
  first.current = commands[0]?.text ?? "";
  useCommands(
    useMemo(() => [{ keys: ["y"], does: "copy it as a command", run: () => copy(first.current, "The command") }], []),
  );
  const items = [
    ...commands.map(({ label, text }) => ({ label: `${label}: ${text.slice(0, 40)}`, run: () => copy(text, label) })),
    null,
    ...(hasError.value ? [{ label: "The error as Markdown", run: () => copy(markdown(), "The error") }] : []),
    { label: "The id", run: () => copy(id.peek(), "The id") },
    { label: "A link to this page", run: () => copy(location.href, "The link") },
  ];
  return (
    <div class="head operation-head">
      <div class="crumb">
        <Go href={lastListHref.value}>Operations</Go>
        {runs.value === "" ? null : (
          <>
            {" / "}
            <Go href={hrefOf("name", { name: detail.value.name })}>{runs.value}</Go>
          </>
        )}
      </div>
      <div class="title">
        <span class="frozen">
          <StateIcon look={look.value} />
        </span>
        <h1>{name}</h1>
        <span class="three mono cut not-phone">{plain(id.value)}</span>
        <span class="grow" />
        <div class="acts">
          <NotifyButton detail={detail} />
          <Menu label="Copy as" class="btn" items={items}>
            <Icon name="copy" />
            Copy as <Icon name="down" />
          </Menu>
          <CancelButton detail={detail} />
        </div>
      </div>
      <div class="frozen">
        <p class="sentence">
          <b>{head}</b>
          {rest}
        </p>
        {isRunning.value ? <HeadBar detail={detail} /> : null}
      </div>
    </div>
  );
}

function HeadBar({ detail }: { readonly detail: ReadonlySignal<OperationDetail> }): JSX.Element {
  const percent = useComputed(() => {
    const known = percentOf(detail.value);
    return known === undefined ? "" : String(known);
  });
  const unit = useComputed(() => (percent.value === "" ? "" : "%"));
  return (
    <div class="head-bar">
      <Bar operation={detail} />
      <span class="pct">
        {percent}
        <i>{unit}</i>
      </span>
    </div>
  );
}

async function copy(text: string, what: string): Promise<void> {
  const isCopied = await copyText(text);
  announce(isCopied ? `${what}: copied` : "Not copied: the browser did not allow it");
}
