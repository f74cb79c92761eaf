/** The Events page: the live tail of the log, with filters and one event in full. */

import { computed, effect, type ReadonlySignal, useSignal, useSignalEffect } from "@preact/signals";
import type { JSX, RefObject } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { announce } from "../../announcer.ts";
import { isVisible } from "../../clock.ts";
import { counted, grouped } from "../../format/span.ts";
import { plain, toSentence } from "../../format/text.ts";
import { hub, whyNoActions } from "../../hub.ts";
import { type Command, useCommands } from "../../keys.ts";
import { usePageTitle } from "../../page-title.ts";
import { Hint } from "../../parts/hint.tsx";
import { useHold } from "../../parts/hold.ts";
import { Icon } from "../../parts/icon.tsx";
import { Lock } from "../../parts/lock.tsx";
import { errorFacts, Skeleton } from "../../parts/panel.tsx";
import { useResource } from "../../parts/resource.ts";
import { Go, hrefOf, navigate, useQuery } from "../../router.tsx";
import { seesAll, whoami } from "../../session.ts";
import { loadContract } from "./contract.ts";
import type { EventContract } from "./contract-model.ts";
import { EventDetail } from "./detail.tsx";
import { Feed, READ_AT_A_TIME } from "./feed.ts";
import { choosesEverything, EVERYTHING, type EventFilter, type LoggedEvent, readFilter } from "./filter.ts";
import { EventList } from "./list.tsx";
import { type HistoryAnswer, readEvent } from "./reader.ts";
import { type FilterProps, show, Toolbar } from "./toolbar.tsx";
import { beginningOf } from "./words.ts";
import "./events.css";

/** Milliseconds for which a pointer that rests holds the list: a click must hit what it was aimed at. */
const REST_MS = 1_500;

/** How long the page is hidden before it leaves the hub alone, in milliseconds: people switch between tabs. */
const HIDDEN_AFTER_MS = 10_000;

const PHONE = matchMedia("(max-width: 860px)");

const NO_CONTRACT: EventContract = { channels: ["operations", "data", "system"], types: [], keys: new Map() };

/** The page. */
export function EventsPage(): JSX.Element {
  usePageTitle("Events");
  if (
    whoami.value?.identifies === true &&
    !(whoami.value.grants ?? []).some((line) => /^(read\b|admin$)/u.test(line))
  ) {
    return (
      <div class="head">
        <h1>Events</h1>
        <p class="sentence">
          <Lock grant="read *" what="Seeing events" />
        </p>
      </div>
    );
  }
  return <Events />;
}

function Events(): JSX.Element {
  const query = useQuery();
  const contract = useResource(loadContract, "contract").value.value ?? NO_CONTRACT;
  const filter = readFilter(query);
  const since = query.get("since") ?? "";
  const keys = useRef(contract.keys);
  keys.current = contract.keys;
  const key = JSON.stringify([filter, since]);
  const feed = useMemo(() => new Feed(hub, filter, () => keys.current), [key]);
  useEffect(() => {
    feed.start(beginningOf(since, hub.clock.now()));
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stopLooking = effect(() => {
      clearTimeout(timer);
      if (isVisible.value) feed.rest(false);
      else timer = setTimeout(() => feed.rest(true), HIDDEN_AFTER_MS);
    });
    return () => {
      stopLooking();
      clearTimeout(timer);
      feed.stop();
    };
  }, [feed, since]);
  return <Tail feed={feed} contract={contract} filter={filter} since={since} query={query} />;
}

interface TailProps {
  readonly feed: Feed;
  readonly contract: EventContract;
  readonly filter: EventFilter;
  readonly since: string;
  readonly query: URLSearchParams;
}

function Tail({ feed, contract, filter, since, query }: TailProps): JSX.Element {
  const list = useRef<HTMLDivElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const selected = useSignal<LoggedEvent | null>(null);
  const pausedAt = useSignal<number | null>(null);
  const missing = useSignal("");
  useMemo(() => {
    selected.value = null;
    pausedAt.value = null;
  }, [feed, selected, pausedAt]);
  const held = useHold(list, { restMs: REST_MS });
  const isScrolled = useScrolled(list);
  useSignalEffect(() => feed.hold(held.value || isScrolled.value));
  const wanted = query.get("event");
  const shown = selected.value !== null && selected.value.position === wanted ? selected.value : null;
  const isPhonePage = shown !== null && PHONE.matches;
  const listAt = useRef(0);
  useLayoutEffect(() => {
    if (isPhonePage) scrollTo(0, 0);
    else if (listAt.current > 0) scrollTo(0, listAt.current);
    listAt.current = isPhonePage ? listAt.current : 0;
  }, [isPhonePage]);
  const toggle = () => {
    if (feed.mode.peek() === "following" || feed.isHeld.peek()) {
      feed.pause();
      pausedAt.value = hub.clock.now();
      announce("Paused");
    } else {
      void feed.goOn();
      announce("Following");
    }
  };
  const select = (event: LoggedEvent | null) => {
    selected.value = event;
    missing.value = "";
    const address = new URLSearchParams(query);
    if (event === null) address.delete("event");
    else address.set("event", event.position);
    // On a phone an event is a page of its own, which Back leaves.
    const isPage = PHONE.matches && event !== null && shown === null;
    if (isPage) listAt.current = scrollY;
    navigate(`${hrefOf("events")}?${address}`, { replace: !isPage });
  };
  const actions = useRef({ toggle, select, selected, field });
  actions.current = { toggle, select, selected, field };
  useCommands(useMemo(() => commandsOf(() => actions.current), []));
  // An address that names an event shows it, wherever in the log it is.
  useEffect(() => {
    if (wanted === null || selected.peek() !== null) return;
    const abort = new AbortController();
    const request = (path: string) => hub.request<HistoryAnswer>(path, { signal: abort.signal });
    readEvent(request, wanted)
      .then((event) => {
        if (abort.signal.aborted || selected.peek() !== null) return;
        if (event === null) missing.value = "The hub no longer keeps the event of this address.";
        else selected.value = event;
      })
      .catch((error: unknown) => {
        if (!abort.signal.aborted)
          missing.value = `Could not read the event of this address: ${errorFacts(error).message}`;
      });
    return () => abort.abort();
  }, [feed]);
  return (
    <>
      <h1 class="sr">Events</h1>
      <Toolbar
        feed={feed}
        contract={contract}
        filter={filter}
        since={since}
        query={query}
        field={field}
        pausedAt={pausedAt.value}
        onToggle={toggle}
      />
      <Problem feed={feed} />
      {missing.value === "" ? null : (
        <p class="note-bad" role="status">
          <Icon name="warning" class="s-stalled" /> <span>{plain(missing.value)}</span>
        </p>
      )}
      <div class={shown === null ? "split alone" : "split"}>
        <div class="holds" ref={list}>
          <Waiting feed={feed} />
          <Rows feed={feed} contract={contract} selected={shown} onSelect={select} />
          <Nothing feed={feed} filter={filter} query={query} since={since} />
        </div>
        {shown === null ? null : (
          <EventDetail event={shown} keys={contract.keys} withTrace onClose={() => select(null)} />
        )}
      </div>
    </>
  );
}

/** Whether the beginning of the list is above the window: what comes there would be out of sight. */
function useScrolled(list: RefObject<HTMLElement>): ReadonlySignal<boolean> {
  const isScrolled = useSignal(false);
  useEffect(() => {
    const follow = () => {
      isScrolled.value = (list.current?.getBoundingClientRect().top ?? 0) < 0;
    };
    addEventListener("scroll", follow, { passive: true });
    return () => removeEventListener("scroll", follow);
  }, [list, isScrolled]);
  return isScrolled;
}

function Waiting({ feed }: { readonly feed: Feed }): JSX.Element | null {
  const waiting = feed.waiting.value;
  const mode = feed.mode.value;
  if (mode === "following" || waiting === 0) return null;
  const isReading = mode === "reading";
  return (
    <span class="pills">
      <button
        type="button"
        class="pill"
        disabled={isReading || whyNoActions.value !== ""}
        title={whyNoActions.value}
        onClick={() => {
          void feed.readOn();
          scrollTo({ top: 0, behavior: "instant" });
        }}
      >
        {isReading ? "Reading the log" : describeWaiting(waiting)}
      </button>
    </span>
  );
}

function describeWaiting(waiting: number | null): string {
  if (waiting === null) return `More events wait, show the next ${grouped(READ_AT_A_TIME)}`;
  const wait = waiting === 1 ? "1 new event waits" : `${counted(waiting, "new event")} wait`;
  return waiting > READ_AT_A_TIME
    ? `${wait}, show the next ${grouped(READ_AT_A_TIME)}`
    : `${wait}, show ${waiting === 1 ? "it" : "them"}`;
}

interface RowsProps {
  readonly feed: Feed;
  readonly contract: EventContract;
  readonly selected: LoggedEvent | null;
  readonly onSelect: (event: LoggedEvent) => void;
}

function Rows({ feed, contract, selected, onSelect }: RowsProps): JSX.Element {
  return (
    <EventList
      rows={feed.rows.value}
      keys={contract.keys}
      selected={selected}
      onSelect={onSelect}
      onOpen={(row) => void feed.open(row)}
      busy={feed.busy.value}
      whyNot={whyNoActions.value}
      label="Events, the newest first"
    />
  );
}

function Problem({ feed }: { readonly feed: Feed }): JSX.Element | null {
  const problem = feed.problem.value;
  if (problem === null) return null;
  const { message, hint } = errorFacts(problem.error);
  return (
    <p class="note-bad" role="alert">
      <Icon name="warning" class="s-stalled" />
      <span>
        Could not {problem.what}: {toSentence(message)} <Hint text={hint} /> Nothing is lost: the page goes on from
        where it is.
      </span>
    </p>
  );
}

interface NothingProps extends FilterProps {
  readonly feed: Feed;
  readonly since: string;
}

/** What stands in the place of rows: the page is loading, nothing came yet, or nothing matches. */
function Nothing({ feed, filter, query, since }: NothingProps): JSX.Element | null {
  const isEmpty = useMemo(() => computed(() => feed.rows.value.length === 0), [feed]);
  if (!isEmpty.value) return null;
  if (!feed.isOpen.value || feed.mode.value === "reading") return <Skeleton label="Loading events" />;
  const isNarrow = since !== "" && since !== "now";
  if (choosesEverything(filter) && !isNarrow) {
    return (
      <div class="empty">
        <p>
          <b>{since === "now" ? "No new event so far." : noneYet()}</b> New ones appear here by themselves.
        </p>
        <p class="acts">
          {since === "now" ? (
            <button type="button" class="btn" onClick={() => show(filter, query, "")}>
              Show earlier events
            </button>
          ) : (
            <Go class="btn" href={hrefOf("operations")}>
              How to begin
            </Go>
          )}
        </p>
      </div>
    );
  }
  return (
    <div class="empty">
      <p>
        <b>No event matches.</b> New ones that match appear here by themselves.
      </p>
      <p class="acts">
        {since === "" ? null : (
          <button type="button" class="btn" onClick={() => show(filter, query, "")}>
            Search all that the hub keeps
          </button>
        )}
        {choosesEverything(filter) ? null : (
          <button type="button" class="btn" onClick={() => show(EVERYTHING, query)}>
            Show all events
          </button>
        )}
      </p>
    </div>
  );
}

function noneYet(): string {
  return seesAll("*") ? "This hub has no events yet." : "This hub has no events yet that you may see.";
}

interface Actions {
  readonly toggle: () => void;
  readonly select: (event: LoggedEvent | null) => void;
  readonly selected: { peek(): LoggedEvent | null };
  readonly field: { readonly current: HTMLInputElement | null };
}

function commandsOf(actions: () => Actions): readonly Command[] {
  return [
    { keys: ["/"], does: "to the filter", run: () => actions().field.current?.focus() },
    { keys: [" "], does: "pauses, or goes on", run: ({ target }) => !isButton(target) && toggled(actions()) },
    {
      keys: ["Escape"],
      does: "empties the filter, or closes the event",
      inFields: true,
      run: () => escaped(actions()),
    },
    { keys: ["ArrowDown", "j"], does: "to the next event", run: () => entered() },
  ];
}

function toggled({ toggle }: Actions): true {
  toggle();
  return true;
}

/** Space presses a button that has the focus, as everywhere. */
function isButton(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("button, summary, [role=menu]") !== null;
}

function escaped({ field, select, selected }: Actions): boolean {
  const input = field.current;
  if (input !== null && document.activeElement === input) {
    if (input.value === "") input.blur();
    else {
      input.value = "";
      input.dispatchEvent(new Event("input", { bubbles: true }));
    }
    return true;
  }
  if (selected.peek() === null) return false;
  select(null);
  return true;
}

/** From anywhere on the page into the list; inside it, the list itself moves. */
function entered(): boolean {
  const link = document.querySelector<HTMLElement>(".tail a.name[tabindex='0']");
  link?.focus();
  return link !== null;
}
