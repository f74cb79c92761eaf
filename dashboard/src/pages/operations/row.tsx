/** One row of the list. A change of its operation writes text and attributes; the row itself is rendered once. */

import { type ReadonlySignal, useComputed, useSignalEffect } from "@preact/signals";
import { Component, type ComponentChildren, type JSX } from "preact";
import { useRef } from "preact/hooks";
import { now } from "../../clock.ts";
import {
  ageOf,
  ageOrigin,
  attemptOf,
  isLive,
  LOOK_WORDS,
  lookOf,
  messageOf,
  nameOf,
  percentOf,
  producerOf,
  rateOf,
  remainingOf,
} from "../../format/operation.ts";
import type { Row } from "../../format/row.ts";
import { plain, splitName } from "../../format/text.ts";
import { formatFullTime, formatTime, toMillis } from "../../format/time.ts";
import { Bar } from "../../parts/bar.tsx";
import { Icon } from "../../parts/icon.tsx";
import { Go, hrefOf } from "../../router.tsx";
import { ages, zone } from "../../settings.ts";
import { rowOf } from "./model.ts";
import { RowMenu } from "./row-menu.tsx";
import { type Cancelling, cancellings, chosen, isSelecting, toggleChosen } from "./selection.ts";

/** Properties of {@link OperationRow}. */
export interface OperationRowProps {
  readonly operationId: string;
  /** Its place in the whole list, from 1, after the head. */
  readonly index: number;
  /** Whether it is the one that Tab reaches. */
  readonly isStop: boolean;
  /** Whether the reader has reached it. */
  readonly isCurrent: boolean;
}

/** Renders only when its place or its being current changes. */
export class OperationRow extends Component<OperationRowProps> {
  override shouldComponentUpdate(next: OperationRowProps): boolean {
    const { operationId, index, isStop, isCurrent } = this.props;
    const isElsewhere = next.operationId !== operationId || next.index !== index;
    return isElsewhere || next.isStop !== isStop || next.isCurrent !== isCurrent;
  }

  render(props: OperationRowProps): ComponentChildren {
    return <Cells key={props.operationId} {...props} />;
  }
}

function Cells({ operationId, ...place }: OperationRowProps): JSX.Element | null {
  const last = useRef<Row>();
  const found = useComputed(() => {
    last.current = rowOf(operationId) ?? last.current;
    return last.current;
  });
  return found.value === undefined ? null : <KnownCells operation={found as ReadonlySignal<Row>} {...place} />;
}

interface KnownCellsProps extends Omit<OperationRowProps, "operationId"> {
  readonly operation: ReadonlySignal<Row>;
}

function KnownCells({ operation, index, isStop, isCurrent }: KnownCellsProps): JSX.Element {
  const self = useRef<HTMLDivElement>(null);
  const { operation_id: id } = operation.peek();
  const look = useComputed(() => lookOf(operation.value));
  const outcome = useComputed(() => cancellings.value.get(id));
  const message = useComputed(
    () => outcomeText(outcome.value, operation.value) ?? messageOf(operation.value, now.value),
  );
  const left = useComputed(() => remainingOf(operation.value));
  const isWide = useComputed(() => left.value === "" || look.value === "failed");
  const tone = useComputed(
    () => ({ failed: " say-failed", away: " say-warn", stalled: " say-warn" })[look.value as string] ?? " two",
  );
  useFlash(self, look);
  return (
    <div
      ref={self}
      class={useComputed(() => (isWide.value ? "lrow wide" : "lrow"))}
      role="row"
      aria-rowindex={index}
      aria-selected={isCurrent}
      data-operation={id}
    >
      <div class="c-icon" role="cell">
        <Choice operation={operation} />
        <span class="sr">{useComputed(() => LOOK_WORDS[look.value])}</span>
        <svg class={useComputed(() => `icon s-${look.value}`)} aria-hidden="true">
          <use href={useComputed(() => `#i-${look.value}`)} />
        </svg>
      </div>
      <div class="c-who who" role="cell">
        <Name operation={operation} isStop={isStop} />
        <span class="id cut">{useComputed(() => (nameOf(operation.value) === plain(id) ? "" : plain(id)))}</span>
        <span class="try">{useComputed(() => attemptOf(operation.value))}</span>
      </div>
      <div class="c-bar" role="cell">
        <Bar operation={operation} />
      </div>
      <Percent operation={operation} />
      <div class={useComputed(() => `c-say cut${tone.value}`)} role="cell" title={message}>
        {message}
      </div>
      <div class={useComputed(() => (lookOf(operation.value) === "running" ? "c-left" : "c-left two"))} role="cell">
        {left}
      </div>
      <div class="c-rate num two" role="cell">
        {useComputed(() => rateOf(operation.value))}
      </div>
      <LogCounts operation={operation} />
      <div class="c-age num two" role="cell" title={useComputed(() => fullAge(operation.value))}>
        {useComputed(() => shownAge(operation.value))}
      </div>
      <div class="c-prod cut two" role="cell" title={useComputed(() => producerOf(operation.value))}>
        {useComputed(() => producerOf(operation.value))}
      </div>
      <div class="c-more" role="cell">
        <RowMenu operation={operation} />
      </div>
    </div>
  );
}

/** What came of a request to cancel, until the operation itself says so. */
function outcomeText(outcome: Cancelling | undefined, row: Row): string | undefined {
  return outcome !== undefined && isLive(row) ? outcome.text : undefined;
}

/** A name as a link over the whole row; where it is cut, it keeps its end. */
function Name({
  operation,
  isStop,
}: {
  readonly operation: ReadonlySignal<Row>;
  readonly isStop: boolean;
}): JSX.Element {
  const name = useComputed(() => nameOf(operation.value));
  const parts = useComputed(() => splitName(name.value));
  const end = useComputed(() => parts.value[1]);
  return (
    <Go
      class={useComputed(() => (end.value === "" ? "name" : "name long"))}
      href={hrefOf("operation", { id: operation.peek().operation_id })}
      title={useComputed(() => `${name.value}\n${plain(operation.value.operation_id)}`)}
      aria-label={name}
      tabIndex={isStop ? 0 : -1}
    >
      <span class="cut">{useComputed(() => parts.value[0])}</span>
      <span>{end}</span>
    </Go>
  );
}

function Percent({ operation }: { readonly operation: ReadonlySignal<Row> }): JSX.Element {
  const percent = useComputed(() => {
    const known = operation.value.state === "complete" ? undefined : percentOf(operation.value);
    return known === undefined ? "" : String(known);
  });
  return (
    <div class="c-pct pct" role="cell">
      {percent}
      <i>{useComputed(() => (percent.value === "" ? "" : "%"))}</i>
    </div>
  );
}

/** Lines that the attempt has logged as warnings and as errors. */
function LogCounts({ operation }: { readonly operation: ReadonlySignal<Row> }): JSX.Element {
  const warnings = useComputed(() => operation.value.warnings ?? 0);
  const errors = useComputed(() => operation.value.errors ?? 0);
  return (
    <div class="c-log" role="cell">
      {warnings.value === 0 ? null : (
        <span class="say-warn" title={`${warnings.value} warnings logged`}>
          <Icon name="warning" />
          {warnings}
          <span class="sr"> warnings</span>
        </span>
      )}
      {errors.value === 0 ? null : (
        <span class="say-failed" title={`${errors.value} errors logged`}>
          <Icon name="error" />
          {errors}
          <span class="sr"> errors</span>
        </span>
      )}
    </div>
  );
}

function Choice({ operation }: { readonly operation: ReadonlySignal<Row> }): JSX.Element | null {
  const { operation_id: id } = operation.peek();
  const isChosen = useComputed(() => chosen.value.has(id));
  if (!isSelecting.value) return null;
  return (
    <input
      type="checkbox"
      class="choice"
      aria-label={`Choose ${nameOf(operation.peek())}`}
      checked={isChosen}
      onInput={() => toggleChosen(id)}
    />
  );
}

function shownAge(row: Row): string {
  if (ages.value === "relative") return ageOf(row, now.value);
  const at = toMillis(ageOrigin(row));
  return at === undefined ? "" : formatTime(at, zone.value, now.value);
}

function fullAge(row: Row): string {
  const at = toMillis(ageOrigin(row));
  return at === undefined ? "" : formatFullTime(at, zone.value);
}

/** One flash of a row whose state has changed while it is shown. */
function useFlash(self: { readonly current: HTMLElement | null }, look: ReadonlySignal<string>): void {
  const before = useRef<string>();
  useSignalEffect(() => {
    const current = look.value;
    const row = self.current;
    if (before.current !== undefined && before.current !== current && row !== null) {
      row.classList.remove("changed");
      // The animation begins again only after the browser has seen the row without it.
      void row.offsetWidth;
      row.classList.add("changed");
    }
    before.current = current;
  });
}
