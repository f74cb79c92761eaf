/** The log of one operation: follow, find, filter, link, download. */

import "./log.css";
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { grouped, ordinal } from "../../format/span.ts";
import { formatFullTime } from "../../format/time.ts";
import { hub } from "../../hub.ts";
import { type Command, useCommands } from "../../keys.ts";
import { Icon } from "../../parts/icon.tsx";
import { Menu, type MenuItem } from "../../parts/menu.tsx";
import { PanelError, Skeleton } from "../../parts/panel.tsx";
import { useLinkReturn } from "../../parts/resource.ts";
import { Go, hrefOf, navigate, useQuery } from "../../router.tsx";
import { zone } from "../../settings.ts";
import { FindField } from "./find-field.tsx";
import { unreadLabel } from "./follow.ts";
import { LogRowView } from "./log-line.tsx";
import { LogLines, type LogLinesHandle } from "./log-lines.tsx";
import { type Level, type LogLine, LogModel } from "./log-model.ts";
import { describeTop, fileName, fileText, type LogRow, rowsOf } from "./log-rows.ts";
import {
  ALL_LINES,
  filterEntries,
  indexOfMatch,
  type LogFilter,
  LogSearch,
  type Match,
  nextMatch,
} from "./log-search.ts";
import { followLog, READING } from "./log-source.ts";
import { changeView, logView } from "./log-view.ts";

export interface LogViewerProps {
  readonly operationId: string;
  /** Attempts that there are. */
  readonly attempts: number;
  /** Only this attempt; undefined shows all. */
  readonly attempt: number | undefined;
  readonly onAttempt: (attempt: number | undefined) => void;
  /** Whether the log has the page for itself. */
  readonly isPage: boolean;
  /** Called with the kept lines after they have changed. */
  readonly onLines?: (model: LogModel) => void;
}

const NO_MATCHES: readonly Match[] = [];

/** The viewer. */
export function LogViewer(props: LogViewerProps): JSX.Element {
  const { operationId, attempts, attempt, onAttempt, isPage, onLines } = props;
  const linked = useQuery().get("line");
  const retries = useSignal(0);
  const model = useMemo(() => new LogModel(), [operationId, retries.value]);
  const status = useSignal(READING);
  const level = useSignal<Level>("debug");
  const sought = useSignal("");
  const current = useSignal<Match | undefined>(undefined);
  const changes = useSignal(0);
  const lines = useRef<LogLinesHandle>(null);
  const field = useRef<HTMLInputElement>(null);
  const self = useRef<HTMLElement>(null);
  const isPlaced = useRef(false);
  const changed = () => {
    changes.value += 1;
  };

  useLinkReturn(() => {
    if (status.peek().state === "failed") retries.value += 1;
  });
  useEffect(() => {
    isPlaced.current = false;
    status.value = READING;
    return followLog(hub, operationId, model, {
      schedule: scheduleFrame,
      changed: (now) => {
        if (now.state === "following" && !isPlaced.current) {
          isPlaced.current = true;
          model.follow(linked === null);
        }
        status.value = now;
        changed();
        onLines?.(model);
      },
    });
  }, [model]);

  void changes.value;
  const { version } = model;
  const filter: LogFilter = useMemo(
    () => (level.value === "debug" && attempt === undefined ? ALL_LINES : { level: level.value, attempt }),
    [level.value, attempt],
  );
  const top = describeTop(status.value, model.removed);
  const rows = useMemo(() => rowsOf(filterEntries(model.entries, filter), top), [model, version, filter, top]);
  const search = useMemo(() => new LogSearch(sought.value, filter), [model, sought.value, filter]);
  const found = useMemo(
    () => (sought.value === "" ? NO_MATCHES : search.update(model.lines())),
    [model, version, search],
  );
  const foundIn = useMemo(() => byLine(found), [found]);
  const index = indexOfMatch(found, current.value);
  const at = found[index];

  const follow = (following: boolean) => {
    model.follow(following);
    changed();
  };
  const show = (isWanted: (row: LogRow) => boolean) => {
    const index = rows.findIndex(isWanted);
    if (index < 0) return;
    follow(false);
    lines.current?.show(index);
  };
  const goTo = (index: number) => {
    const match = found[index];
    if (match === undefined) return;
    current.value = match;
    // The line may have been kept aside while the reader was elsewhere.
    if (!rows.some((row) => row === match.line)) model.follow(true);
    show((row) => row.kind === "line" && row.number === match.line.number);
  };
  useEffect(() => {
    if (sought.value === "" || found.length === 0) return;
    // Another filter leaves the reader at the match; another text begins at the first line in view.
    const kept = indexOfMatch(found, current.peek());
    if (kept >= 0) return goTo(kept);
    const first = current.peek()?.line ?? lines.current?.first();
    goTo(nextMatch(found, first?.kind === "line" ? first.number : 0));
  }, [search]);

  const rowOfLink = linked === null ? -1 : rows.findIndex((row) => row.kind === "line" && row.position === linked);
  const isRead = status.value.state === "following";
  useEffect(() => {
    if (isRead && rowOfLink >= 0) show((row) => row.kind === "line" && row.position === linked);
  }, [isRead, linked, rowOfLink >= 0]);
  const link = (position: string | undefined) => navigate(lineHref(operationId, isPage, position), { replace: true });

  useCtrlF(self, field, isPage);
  const toNextError = () => {
    const seen = lines.current?.first();
    const isError = (row: LogRow) => row.kind === "line" && (row.level === "error" || row.level === "critical");
    const after = seen?.kind === "line" ? seen.number : 0;
    const next = rows.find((row) => isError(row) && row.kind === "line" && row.number > after) ?? rows.find(isError);
    if (next !== undefined) show((row) => row === next);
  };
  const actions = useRef({ follow: () => {}, toNextError });
  actions.current = { follow: () => follow(!model.following), toNextError };
  const commands = useMemo<readonly Command[]>(
    () => [
      { keys: ["f"], does: "log: follow the end, or stop", run: () => actions.current.follow() },
      { keys: ["e"], does: "log: to the next error", run: () => actions.current.toNextError() },
      ...(isPage ? [{ keys: ["/"], does: "log: find", run: () => field.current?.focus() }] : []),
    ],
    [isPage],
  );
  useCommands(commands);

  const view = logView.value;
  const warnings = model.count("warning");
  const errors = model.count("error", "critical");
  return (
    <section ref={self} class={isPage ? "log-viewer page" : "log-viewer"} aria-labelledby="h-log">
      <div class="h-sec">
        <h2 id="h-log">Log</h2>
        <span class="three">{status.value.state === "reading" ? "" : describeKept(model)}</span>
        <span class="grow" />
        {isPage ? null : (
          <Go class="log-open" href={hrefOf("log", { id: operationId })}>
            Open as a page
          </Go>
        )}
      </div>
      <div class="logbar">
        <FindField
          field={field}
          sought={sought}
          found={found.length}
          at={index + 1}
          onStep={(by) => goTo((Math.max(0, index) + by + found.length) % Math.max(1, found.length))}
        />
        <LevelButtons level={level.value} warnings={warnings} errors={errors} onLevel={(to) => (level.value = to)} />
        <span class="grow" />
        {attempts > 1 ? (
          <Menu label="Attempts to show" items={() => attemptItems(attempts, attempt, onAttempt)}>
            {attempt === undefined ? "All attempts" : `${ordinal(attempt)} attempt`} <Icon name="down" />
          </Menu>
        ) : null}
        <Menu label="How lines are shown" items={viewItems} staysOpen>
          View <Icon name="down" />
        </Menu>
        <button
          type="button"
          class="btn plain square"
          aria-label="Download these lines"
          title={view.isRaw ? "Download these lines as they were sent" : "Download these lines"}
          onClick={() => download(fileName(operationId), fileText(shownLines(rows), view.isRaw, formatLineTime))}
        >
          <Icon name="download" />
        </button>
      </div>
      {linked !== null && isRead && rowOfLink < 0 ? (
        <p class="log-missing" role="status">
          The linked line is not among these: it is no longer kept, or a filter hides it.{" "}
          <button type="button" class="btn plain" onClick={() => link(undefined)}>
            Show the end
          </button>
        </p>
      ) : null}
      {status.value.state === "failed" ? (
        <PanelError what="the log" error={status.value.error} onRetry={() => (retries.value += 1)} />
      ) : status.value.state === "reading" ? (
        <Skeleton rows={4} label="Reading the log" />
      ) : (
        <div class="log-frame frozen">
          <LogLines
            rows={rows}
            layout={`${view.isWrapped} ${view.hasTimes} ${view.isRaw}`}
            isFollowing={model.following}
            onFollow={follow}
            handle={lines}
            class={`log${view.isWrapped ? "" : " unwrapped"}${view.hasTimes ? "" : " timeless"}`}
            draw={(row) => (
              <LogRowView
                row={row}
                zone={zone.value}
                isRaw={view.isRaw}
                hasTimes={view.hasTimes}
                href={row.kind === "line" ? lineHref(operationId, isPage, row.position) : ""}
                isLinked={row.kind === "line" && row.position === linked}
                onLink={link}
                found={row.kind === "line" ? (foundIn.get(row.number) ?? NO_MATCHES) : NO_MATCHES}
                current={row.kind === "line" && at?.line.number === row.number ? at : undefined}
              />
            )}
          />
          {rows.length === 0 ? <EmptyLog model={model} /> : null}
          {model.following ? null : (
            <button type="button" class="log-pill" onClick={() => follow(true)}>
              {unreadLabel(model.unread) || "↓ To the end"}
            </button>
          )}
        </div>
      )}
    </section>
  );
}

function EmptyLog({ model }: { readonly model: LogModel }): JSX.Element {
  if (model.entries.length > 0) return <p class="log-empty">No line of this kind</p>;
  return (
    <div class="log-empty">
      <p>No lines were logged.</p>
      <p class="three">
        A program logs with <code>op.log(…)</code>. <code>tidings run</code> reads progress from the output of a command
        and leaves the output where the command runs; if the command fails, the error shows its last lines.
      </p>
    </div>
  );
}

function LevelButtons(props: {
  readonly level: Level;
  readonly warnings: number;
  readonly errors: number;
  readonly onLevel: (level: Level) => void;
}): JSX.Element {
  const choices = [
    ["debug", "All", 0],
    ["warning", "Warnings", props.warnings],
    ["error", "Errors", props.errors],
  ] as const;
  return (
    <fieldset class="set">
      <legend class="sr">Level</legend>
      {choices.map(([level, label, count]) => (
        <button
          key={level}
          type="button"
          class="btn"
          aria-pressed={props.level === level}
          onClick={() => props.onLevel(level)}
        >
          {label} {level === "debug" ? null : <span class="count">{grouped(count)}</span>}
        </button>
      ))}
    </fieldset>
  );
}

function attemptItems(
  attempts: number,
  chosen: number | undefined,
  choose: (attempt: number | undefined) => void,
): MenuItem[] {
  const numbers = Array.from({ length: Math.min(attempts, 30) }, (_, index) => attempts - index);
  return [
    { label: "All attempts", isChosen: chosen === undefined, run: () => choose(undefined) },
    ...numbers.map((number) => ({
      label: `${ordinal(number)} attempt`,
      isChosen: chosen === number,
      run: () => choose(number),
    })),
  ];
}

function viewItems(): MenuItem[] {
  const { isWrapped, hasTimes, isRaw } = logView.value;
  return [
    { label: "Wrap long lines", isChosen: isWrapped, run: () => changeView({ isWrapped: !isWrapped }) },
    { label: "Show times", isChosen: hasTimes, run: () => changeView({ hasTimes: !hasTimes }) },
    { label: "Raw: show escapes", isChosen: isRaw, run: () => changeView({ isRaw: !isRaw }) },
  ];
}

function describeKept(model: LogModel): string {
  const lines = model.entries.length;
  return lines === 0 ? "" : `${grouped(lines)} ${lines === 1 ? "line" : "lines"}`;
}

/** The matches by the number of their line. */
function byLine(found: readonly Match[]): ReadonlyMap<number, readonly Match[]> {
  const lines = new Map<number, Match[]>();
  for (const match of found) {
    const known = lines.get(match.line.number);
    if (known === undefined) lines.set(match.line.number, [match]);
    else known.push(match);
  }
  return lines;
}

function* shownLines(rows: readonly LogRow[]): IterableIterator<LogLine> {
  for (const row of rows) if (row.kind === "line") yield row;
}

function lineHref(operationId: string, isPage: boolean, line: string | undefined): string {
  return hrefOf(isPage ? "log" : "operation", { id: operationId, line });
}

function formatLineTime(at: number): string {
  return Number.isNaN(at) ? "" : formatFullTime(at, zone.peek());
}

/** Milliseconds between two drawings of new lines: more often than anyone can read, at a third of the cost of each frame. */
const DRAW_MS = 50;
const HIDDEN_DRAW_MS = 1_000;

/** Runs before a frame soon; a hidden page has no frames. */
function scheduleFrame(run: () => void): void {
  if (document.visibilityState === "visible") setTimeout(() => requestAnimationFrame(run), DRAW_MS);
  else setTimeout(run, HIDDEN_DRAW_MS);
}

function download(name: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const anchor = document.createElement("a");
  anchor.href = address;
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** Ctrl+F finds in the log, whose lines mostly do not exist in the page; pressed again, it is the browser's own. */
function useCtrlF(
  section: { readonly current: HTMLElement | null },
  field: { readonly current: HTMLInputElement | null },
  isPage: boolean,
): void {
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() !== "f" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey)
        return;
      const isInside = section.current?.contains(document.activeElement) === true || section.current?.matches(":hover");
      if (document.activeElement === field.current || !(isPage || isInside)) return;
      event.preventDefault();
      field.current?.focus();
      field.current?.select();
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, [section, field, isPage]);
}
