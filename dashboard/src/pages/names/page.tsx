/** The Names page: how the runs of each name went, and how long they took. */

import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useMemo, useRef } from "preact/hooks";
import { now } from "../../clock.ts";
import { counted, formatSpan, grouped } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { hub } from "../../hub.ts";
import { type Command, useCommands } from "../../keys.ts";
import { liveRows } from "../../live.ts";
import { usePageTitle } from "../../page-title.ts";
import { Age } from "../../parts/age.tsx";
import { useHold } from "../../parts/hold.ts";
import { Icon, StateIcon } from "../../parts/icon.tsx";
import { Lock } from "../../parts/lock.tsx";
import { PanelError, Skeleton } from "../../parts/panel.tsx";
import { useResource } from "../../parts/resource.ts";
import { VirtualList } from "../../parts/virtual-list.tsx";
import { Go, hrefOf, navigate, useQuery } from "../../router.tsx";
import { mayDo, seesAll } from "../../session.ts";
import { holdRows } from "./order.ts";
import "./names.css";
import { isOf, matchesText, type NameRow, type NameView, nameRows, type Which } from "./rows.ts";
import { StripKey, StripView } from "./strip-view.tsx";

/** Heights of a row as names.css has them, in pixels. */
const ROW_PX = 44;
const PHONE_ROW_PX = 98;
const PHONE = matchMedia("(max-width: 860px)");
/** Names are loaded again at most once in this many milliseconds when runs end. */
const RELOAD_MS = 2_000;

const LABELS: Readonly<Record<Which, string>> = {
  all: "All",
  failed: "Last run failed",
  slower: "Slower than usual",
};

/** The page. */
export function NamesPage(): JSX.Element {
  usePageTitle("Names");
  if (!mayDo("read", "operations")) {
    return (
      <div class="head">
        <h1>Names</h1>
        <p class="sentence">
          <Lock grant="read operations" what="Seeing names" />
        </p>
      </div>
    );
  }
  return <Names />;
}

function Names(): JSX.Element {
  const query = useQuery();
  const which = readWhich(query.get("show"));
  const text = query.get("q") ?? "";
  const { names, rows } = useNames();
  const list = useRef<HTMLDivElement>(null);
  const held = useHold(list);
  const shown = useSignal<readonly string[]>([]);
  const field = useRef<HTMLInputElement>(null);
  useCommands(useMemo(() => commandsOf(field, list), []));

  const known = rows.value.filter((row) => matchesText(row.name, text));
  const wanted = known.filter((row) => isOf(row, which));
  const order = holdRows(wanted, held.value ? shown.peek() : null);
  if (!held.value) shown.value = wanted.map((row) => row.name);
  const show = (which: Which, text: string) =>
    navigate(hrefOf("names", { show: which === "all" ? undefined : which, q: text }), { replace: true });
  const counts = countsOf(known);
  return (
    <>
      <h1 class="sr">Names</h1>
      <search class="filters names-top">
        <label class="field">
          <Icon name="search" />
          <span class="sr">Filter names</span>
          <input
            ref={field}
            type="search"
            placeholder="Filter names"
            value={text}
            onInput={(event) => show(which, event.currentTarget.value)}
          />
          <kbd class="not-phone">/</kbd>
        </label>
        <div class="set" role="group" aria-label="Which names">
          {(["all", "failed", "slower"] as const).map((each) => (
            <button
              key={each}
              type="button"
              class={each === "slower" ? "btn not-phone" : "btn"}
              aria-pressed={each === which}
              onClick={() => show(each, text)}
            >
              {LABELS[each]} <span class="count">{grouped(counts[each])}</span>
            </button>
          ))}
        </div>
        <span class="grow" />
        <StripKey />
      </search>
      {names.error.value === undefined ? null : (
        <PanelError what="the names" error={names.error.value} onRetry={names.reload} />
      )}
      <div ref={list} class="list names frozen" role="table" aria-label="Names" aria-rowcount={order.rows.length + 1}>
        <div class="lhead" role="row" aria-rowindex={1}>
          <div role="columnheader">Name</div>
          <div role="columnheader">Last 20 runs, the newest on the right</div>
          <div role="columnheader">Trend</div>
          <div class="num" role="columnheader">
            Usually takes
          </div>
          <div class="num c-x" role="columnheader">
            19 in 20 under
          </div>
          <div class="num c-x" role="columnheader">
            Last success
          </div>
          <div class="num c-x" role="columnheader">
            Failed
          </div>
          <div class="num c-x" role="columnheader">
            Runs
          </div>
        </div>
        {held.value && (order.fresh > 0 || order.moved) ? (
          <button
            type="button"
            class="pill"
            onClick={() => {
              shown.value = wanted.map((row) => row.name);
            }}
          >
            {order.fresh > 0 ? `${counted(order.fresh, "new name")}, show them` : "Order again"}
          </button>
        ) : null}
        {names.value.value === undefined && names.error.value === undefined ? <Skeleton label="Loading names" /> : null}
        <VirtualList rows={order.rows} keyOf={keyOf} heightOf={heightOf}>
          {(row, index) => <Row row={row} index={index + 2} />}
        </VirtualList>
      </div>
      {names.value.value !== undefined && wanted.length === 0 ? (
        <Empty isFiltered={text !== "" || which !== "all"} onClear={() => show("all", "")} />
      ) : null}
    </>
  );
}

/** The names of the hub with the live runs, brought up to date once a second and when runs end. */
function useNames() {
  const names = useResource(
    (signal) => hub.request<{ readonly names: readonly NameView[] }>("v1/operation-names", { signal }),
    "names",
  );
  const rows = useComputed(() => nameRows(names.value.value?.names ?? [], liveRows.peek().values(), now.value));
  const ended = useComputed(() => {
    let newest = "";
    for (const { ended_at } of liveRows.value.values())
      if (ended_at !== undefined && ended_at > newest) newest = ended_at;
    return newest;
  });
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useSignalEffect(() => {
    if (ended.value === "" || timer.current !== undefined) return;
    timer.current = setTimeout(() => {
      timer.current = undefined;
      names.reload();
    }, RELOAD_MS);
  });
  useSignalEffect(() => () => clearTimeout(timer.current));
  return { names, rows };
}

function Row({ row, index }: { readonly row: NameRow; readonly index: number }): JSX.Element {
  const { trend } = row;
  const loud = trend.kind === "failing" ? " say-failed" : LOUD.has(trend.kind) ? " say-warn" : " two";
  return (
    <div class="lrow" role="row" aria-rowindex={index}>
      <div class="c-name who mid" role="cell">
        <StateIcon look={row.look} />
        <Go class="name cut" href={hrefOf("name", { name: row.name })} title={plain(row.name)}>
          {plain(row.name)}
        </Go>
      </div>
      <div class="c-strip" role="cell">
        <StripView runs={row.runs} medianS={row.medianS} label={row.strip} />
      </div>
      <div class={`c-trend cut${loud}`} role="cell">
        {trend.text}
      </div>
      <div class="c-usual num" role="cell">
        {row.medianS === undefined ? "" : formatSpan(row.medianS)}
      </div>
      <div class="c-x num two" role="cell">
        {row.p95S === undefined ? "" : formatSpan(row.p95S)}
      </div>
      <div class="c-x num two" role="cell">
        {row.lastSuccessAt === undefined ? "" : <Age at={row.lastSuccessAt} />}
      </div>
      <div class="c-x num two" role="cell">
        {grouped(row.failed)}
      </div>
      <div class="c-x num two" role="cell">
        {grouped(row.ended)}
      </div>
    </div>
  );
}

const LOUD: ReadonlySet<NameRow["trend"]["kind"]> = new Set(["slower", "stalled", "away"]);

function Empty({ isFiltered, onClear }: { readonly isFiltered: boolean; readonly onClear: () => void }): JSX.Element {
  if (isFiltered) {
    return (
      <div class="empty">
        <p>
          <b>No name matches.</b>
        </p>
        <button type="button" class="btn" onClick={onClear}>
          Show all names
        </button>
      </div>
    );
  }
  return (
    <div class="empty">
      <p>
        <b>{seesAll("operations") ? "Nothing has run here yet." : "Nothing has run here yet that you may see."}</b> A
        name appears here with its first run. <Go href={hrefOf("operations")}>How to begin</Go>
      </p>
    </div>
  );
}

function keyOf(row: NameRow): string {
  return row.name;
}

function heightOf(): number {
  return PHONE.matches ? PHONE_ROW_PX : ROW_PX;
}

function readWhich(text: string | null): Which {
  return text === "failed" || text === "slower" ? text : "all";
}

function countsOf(rows: readonly NameRow[]): Readonly<Record<Which, number>> {
  const count = (which: Which) => rows.filter((row) => isOf(row, which)).length;
  return { all: rows.length, failed: count("failed"), slower: count("slower") };
}

function commandsOf(
  field: { readonly current: HTMLInputElement | null },
  list: { readonly current: HTMLElement | null },
): readonly Command[] {
  return [
    { keys: ["/"], does: "to the filter", run: () => field.current?.focus() },
    {
      keys: ["Escape"],
      does: "empties the filter, then leaves it",
      inFields: true,
      run: () => leaveField(field.current),
    },
    { keys: ["ArrowDown", "j"], does: "to the next name", run: () => moveFocus(list.current, 1) },
    { keys: ["ArrowUp", "k"], does: "to the name before", run: () => moveFocus(list.current, -1) },
  ];
}

function leaveField(field: HTMLInputElement | null): boolean {
  if (field === null || document.activeElement !== field) return false;
  if (field.value === "") field.blur();
  else {
    field.value = "";
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
  return true;
}

function moveFocus(list: HTMLElement | null, step: 1 | -1): boolean {
  const links = [...(list?.querySelectorAll<HTMLElement>("a.name") ?? [])];
  const at = links.indexOf(document.activeElement as HTMLElement);
  const next = links[at < 0 ? 0 : at + step];
  next?.focus();
  return next !== undefined;
}
