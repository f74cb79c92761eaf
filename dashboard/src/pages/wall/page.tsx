/** The wall: large type for a screen across the room, without controls. */

import { type ReadonlySignal, useComputed, useSignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { deviceNow, now } from "../../clock.ts";
import { LOOK_WORDS, percentOf } from "../../format/operation.ts";
import type { Row } from "../../format/row.ts";
import { formatSpan, grouped } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { formatClock, formatMinute } from "../../format/time.ts";
import { connection, hub, isStale } from "../../hub.ts";
import { liveRows } from "../../live.ts";
import { usePageTitle } from "../../page-title.ts";
import { Bar } from "../../parts/bar.tsx";
import { Icon } from "../../parts/icon.tsx";
import { useResource } from "../../parts/resource.ts";
import { Go, hrefOf } from "../../router.tsx";
import { needsSignIn, ownBuild, whoami } from "../../session.ts";
import { zone } from "../../settings.ts";
import { lostSeconds } from "../../shell/link.tsx";
import type { NameView } from "../names/rows.ts";
import { describeDay, layOutWall, rowsThatFit, type WallRow, type WallView } from "./layout.ts";
import { reasonToReload, reloadDelayMs } from "./reload.ts";
import { midnightBefore, sayOf, timeOf } from "./words.ts";
import "./wall.css";

/** Least height of a row in its own font size, as wall.css has it. */
const ROW_EM = 2.7;
/** Rows on a narrow screen, which scrolls. */
const PHONE_ROWS = 60;
const PHONE = "(max-width: 860px)";
/** Milliseconds between two loads of what the hub has counted. */
const RELOAD_MS = 60_000;
const RELOADED_FOR = "tidings:wall:reloaded-for";

interface Totals {
  readonly complete: number;
  readonly failed: number;
  readonly cancelled: number;
}

/** The page. */
export function WallPage(): JSX.Element {
  usePageTitle("Wall");
  useReload();
  return needsSignIn.value ? <SignInFirst /> : <Wall />;
}

/** What a wall shows that its hub does not know: the one thing to do. */
function SignInFirst(): JSX.Element {
  return (
    <main class="wall" id="main">
      <header>
        <h1>{location.host}</h1>
      </header>
      <ul>
        <li class="none">
          <Icon name="lock" />
          <p>
            {plain(whoami.value?.error?.message) || "This hub asks who you are"}.{" "}
            <Go href={hrefOf("signIn", { back: "wall" })}>Sign in</Go>
          </p>
        </li>
      </ul>
    </main>
  );
}

function Wall(): JSX.Element {
  const list = useRef<HTMLUListElement>(null);
  const capacity = useCapacity(list);
  const { names, totals } = useCounted();
  const view = useComputed(() => {
    const known = new Map<string, Row>();
    for (const { newest } of names.value) if (newest !== undefined) known.set(newest.operation_id, newest);
    for (const row of liveRows.peek().values()) known.set(row.operation_id, row);
    return layOutWall(known.values(), capacity.value, now.value);
  }).value;
  const usual = new Map(names.value.map((each) => [each.name, each.median_duration_s]));
  return (
    <main class="wall" id="main">
      <Head />
      <ul ref={list} class="frozen">
        {view.rows.map((row) => (
          // Of one operation: what its line computes is of that one, and the next run of the name has its own.
          <Line key={row.operation.operation_id} row={row} usualS={usual.get(row.name)} />
        ))}
        {view.rows.length === 0 ? <Nothing /> : null}
      </ul>
      <Foot view={view} totals={totals.value} />
    </main>
  );
}

/** The day, the link and the clock; when the link is lost, how old everything is, in the largest type. */
function Head(): JSX.Element {
  const { state, heardAt, since } = connection.value;
  const time = deviceNow.value;
  if (isStale.value || state === "closed") {
    const at = heardAt ?? since;
    return (
      <header class="lost">
        <Icon name="warning" class="s-stalled" />
        <h1>
          {state === "closed" ? "The link to the hub is closed" : `Nothing heard for ${formatSpan(lostSeconds.value)}`}
        </h1>
        <span>as it was at {formatClock(at, zone.value)}</span>
        <time class="clock">{formatMinute(time, zone.value)}</time>
      </header>
    );
  }
  return (
    <header>
      <h1>{describeDay(time, zone.value)}</h1>
      <span class="linkw">
        <Icon name={state === "live" ? "live" : "queued"} class={state === "live" ? "s-complete" : "s-queued"} />
        {state === "live" ? "live" : state === "catching-up" ? "catching up" : "connecting"}
      </span>
      <time class="clock">
        {formatMinute(time, zone.value)}
        {zone.value === "utc" ? <span class="three"> UTC</span> : null}
      </time>
    </header>
  );
}

interface LineProps {
  readonly row: WallRow;
  readonly usualS: number | undefined;
}

function Line({ row, usualS }: LineProps): JSX.Element {
  const id = row.operation.operation_id;
  const held = useSignal(row.operation);
  held.value = row.operation;
  const operation = useComputed(() => liveRows.value.get(id) ?? held.value);
  const percent = useComputed(() => {
    const known = percentOf(operation.value);
    return known === undefined || row.look === "complete" || row.look === "queued" ? "" : String(known);
  });
  const loud = row.look === "failed" ? "bad" : row.look === "stalled" || row.look === "away" ? "odd" : row.look;
  return (
    <li class={loud}>
      <Icon name={row.look} class={`s-${row.look}`} />
      <div class="cut">
        <div class="nm cut">{plain(row.name)}</div>
        <div class="st cut">
          <span class="sr">{LOOK_WORDS[row.look]}: </span>
          <bdi>{sayOf(row, now.value)}</bdi>
        </div>
      </div>
      <Bar operation={operation} />
      <div class="pct">
        {percent}
        {percent.value === "" ? null : <i>%</i>}
      </div>
      <div class="left cut">{timeOf(row, now.value, usualS)}</div>
    </li>
  );
}

/** What stands in the place of rows. */
function Nothing(): JSX.Element {
  const isLive = connection.value.state === "live";
  return (
    <li class="none">
      <p>{isLive ? "Nothing runs, and nothing has failed lately." : "Waiting for the hub."}</p>
    </li>
  );
}

function Foot({ view, totals }: { readonly view: WallView; readonly totals: Totals | undefined }): JSX.Element {
  const { more, moreTroubled, running, queued, failed } = view;
  return (
    <footer class="frozen">
      {more === 0 ? null : (
        <span>
          and <b>{grouped(more)}</b> more
          {moreTroubled === 0 ? "" : `, ${grouped(moreTroubled)} of them in trouble`}
        </span>
      )}
      <span>
        <b>{grouped(running)}</b> running
      </span>
      <span>
        <b>{grouped(queued)}</b> queued
      </span>
      <span class={failed === 0 ? undefined : "say-failed"}>
        <b>{grouped(failed)}</b> failed last
      </span>
      {totals === undefined ? null : (
        <span>
          since midnight <b>{grouped(totals.complete)}</b> complete, <b>{grouped(totals.failed)}</b> failed,{" "}
          <b>{grouped(totals.cancelled)}</b> cancelled
        </span>
      )}
    </footer>
  );
}

/** What the hub has counted: names with their newest run, and how many runs ended since midnight. */
function useCounted() {
  const minute = useComputed(() => Math.floor(now.value / RELOAD_MS));
  const loaded = useResource(
    (signal) => hub.request<{ readonly names: readonly NameView[] }>("v1/operation-names", { signal }),
    "names",
  );
  const day = useResource(async (signal) => {
    const since = new Date(midnightBefore(hub.clock.now(), zone.peek())).toISOString();
    const query = { totals: true, limit: 1, since };
    return (await hub.request<{ readonly totals?: Totals }>("v1/operations", { signal, query })).totals;
  }, "totals");
  useSignalEffect(() => {
    if (minute.value === 0) return;
    loaded.reload();
    day.reload();
  });
  const names: ReadonlySignal<readonly NameView[]> = useComputed(() => loaded.value.value?.names ?? []);
  return { names, totals: day.value };
}

/** How many rows fit. */
function useCapacity(list: { readonly current: HTMLElement | null }): ReadonlySignal<number> {
  const capacity = useSignal(10);
  useEffect(() => {
    const element = list.current;
    if (element === null) return;
    const measure = () => {
      const font = Number.parseFloat(getComputedStyle(element).fontSize);
      capacity.value = matchMedia(PHONE).matches ? PHONE_ROWS : rowsThatFit(element.clientHeight, font * ROW_EM);
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [list, capacity]);
  return capacity;
}

/** Load the page again after an upgrade, and once a night. */
function useReload(): void {
  const isPlanned = useRef(false);
  useSignalEffect(() => {
    const servedBuild = whoami.value?.build;
    const condition = {
      loadedBuild: ownBuild,
      servedBuild,
      reloadedFor: history.state?.[RELOADED_FOR],
      isLive: connection.value.state === "live",
      ageMs: performance.now(),
      hour: Number(formatMinute(deviceNow.value, zone.value).slice(0, 2)),
    };
    if (isPlanned.current || reasonToReload(condition) === null) return;
    isPlanned.current = true;
    setTimeout(async () => {
      isPlanned.current = false;
      if (!(await loads())) return;
      if (servedBuild !== undefined) history.replaceState({ ...history.state, [RELOADED_FOR]: servedBuild }, "");
      location.reload();
    }, reloadDelayMs(Math.random()));
  });
}

/** Whether this page can be loaded now. */
async function loads(): Promise<boolean> {
  try {
    return (await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" })).ok;
  } catch {
    return false;
  }
}
