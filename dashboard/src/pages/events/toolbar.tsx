/** The tools above the events: channels, pause, filter, type, and where to begin. */

import type { JSX, RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { plain } from "../../format/text.ts";
import { formatTime } from "../../format/time.ts";
import { Chip } from "../../parts/chip.tsx";
import { Icon } from "../../parts/icon.tsx";
import { Menu } from "../../parts/menu.tsx";
import { hrefOf, navigate } from "../../router.tsx";
import { zone } from "../../settings.ts";
import type { EventContract } from "./contract-model.ts";
import type { Feed } from "./feed.ts";
import { type EventFilter, parseTyped, readFilter, writeFilter } from "./filter.ts";
import { describeRate, describeSince, SINCE_CHOICES } from "./words.ts";

/** Milliseconds after the last key before text filters: each filter is another subscription. */
const TYPING_MS = 400;

/** Properties of {@link Toolbar}. */
export interface ToolbarProps extends FilterProps {
  readonly feed: Feed;
  readonly contract: EventContract;
  readonly since: string;
  readonly field: RefObject<HTMLInputElement>;
  readonly pausedAt: number | null;
  readonly onToggle: () => void;
}

/** The tools. */
export function Toolbar(props: ToolbarProps): JSX.Element {
  const { feed, contract, filter, since, query, field, pausedAt, onToggle } = props;
  return (
    <>
      <Channels filter={filter} query={query} channels={contract.channels} />
      <search class="filters">
        <PauseButton feed={feed} onToggle={onToggle} />
        <Field filter={filter} query={query} field={field} />
        <Chips filter={filter} query={query} />
        <TypeMenu filter={filter} query={query} types={contract.types} />
        <SinceMenu since={since} query={query} />
        <span class="grow" />
        <Status feed={feed} pausedAt={pausedAt} />
      </search>
    </>
  );
}

/** The filter of the address, and its query. */
export interface FilterProps {
  readonly filter: EventFilter;
  readonly query: URLSearchParams;
}

/** Go to the address of a filter. */
export function show(filter: EventFilter, query: URLSearchParams, since = query.get("since") ?? ""): void {
  const address = writeFilter(filter, query);
  address.delete("event");
  if (since === "") address.delete("since");
  else address.set("since", since);
  const search = address.toString();
  navigate(hrefOf("events") + (search === "" ? "" : `?${search}`), { replace: true });
}

function Channels({ filter, query, channels }: FilterProps & { readonly channels: readonly string[] }): JSX.Element {
  const shown = channels.includes(filter.channel) || filter.channel === "" ? channels : [...channels, filter.channel];
  return (
    <div class="views" role="group" aria-label="Channels">
      {["", ...shown].map((channel) => (
        <button
          key={channel}
          type="button"
          aria-pressed={channel === filter.channel}
          onClick={() => show({ ...filter, channel, type: "" }, query)}
        >
          {channel === "" ? "All channels" : plain(channel)}
        </button>
      ))}
    </div>
  );
}

function PauseButton({ feed, onToggle }: { readonly feed: Feed; readonly onToggle: () => void }): JSX.Element {
  const isPaused = feed.mode.value !== "following" && !feed.isHeld.value;
  return (
    <button type="button" class="btn" aria-pressed={isPaused} onClick={onToggle}>
      <Icon name={isPaused ? "play" : "pause"} />
      {isPaused ? "Paused" : "Pause"}
      <kbd class="not-phone">Space</kbd>
    </button>
  );
}

interface FieldProps extends FilterProps {
  readonly field: RefObject<HTMLInputElement>;
}

function Field({ filter, query, field }: FieldProps): JSX.Element {
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  // Only another text of the address takes the place of what is being typed.
  useLayoutEffect(() => {
    if (field.current !== null && field.current.value.trim() !== filter.text) field.current.value = filter.text;
  }, [field, filter.text]);
  const typed = (text: string, isDone: boolean) => {
    clearTimeout(timer.current);
    const next = parseTyped(text, filter);
    // `key:imp` may still become `key:import-1`: what is named counts when the field is left or Enter pressed.
    if (!isDone && next.text !== text.trim()) return;
    if (JSON.stringify(next) === JSON.stringify(filter)) return;
    if (isDone && field.current !== null) field.current.value = next.text;
    if (isDone) show(next, query);
    else timer.current = setTimeout(() => show(next, query), TYPING_MS);
  };
  return (
    <label class="field">
      <Icon name="search" />
      <span class="sr">Filter events by text, or by type:, key: or trace:</span>
      <input
        ref={field}
        type="search"
        placeholder="Text, type:…, key:… or trace:…"
        defaultValue={filter.text}
        onInput={(event) => typed(event.currentTarget.value, false)}
        onKeyDown={(event) => {
          if (event.key === "Enter") typed(event.currentTarget.value, true);
        }}
        onBlur={(event) => typed(event.currentTarget.value, true)}
      />
      <kbd class="not-phone">/</kbd>
    </label>
  );
}

function Chips({ filter, query }: FilterProps): JSX.Element {
  return (
    <>
      {(["key", "trace"] as const).map((name) =>
        filter[name] === "" ? null : (
          <Chip
            key={name}
            label={name}
            value={plain(filter[name])}
            onRemove={() => show({ ...filter, [name]: "" }, query)}
          />
        ),
      )}
    </>
  );
}

function TypeMenu({ filter, query, types }: FilterProps & { readonly types: readonly string[] }): JSX.Element {
  const known = filter.type === "" || types.includes(filter.type) ? types : [...types, filter.type];
  return (
    <Menu
      label={`Type: ${filter.type === "" ? "any" : plain(filter.type)}`}
      class="btn plain not-phone"
      items={["", ...known].map((type) => ({
        label: type === "" ? "any" : plain(type),
        isChosen: type === filter.type,
        run: () => show({ ...filter, type }, query),
      }))}
    >
      Type: {filter.type === "" ? "any" : plain(filter.type)} <Icon name="down" />
    </Menu>
  );
}

function SinceMenu({ since, query }: { readonly since: string; readonly query: URLSearchParams }): JSX.Element {
  return (
    <Menu
      label={`Since: ${describeSince(since)}`}
      class="btn plain not-phone"
      items={SINCE_CHOICES.map((choice) => ({
        label: describeSince(choice),
        isChosen: choice === since,
        run: () => show(readFilter(query), query, choice),
      }))}
    >
      Since: {describeSince(since)} <Icon name="down" />
    </Menu>
  );
}

function Status({ feed, pausedAt }: { readonly feed: Feed; readonly pausedAt: number | null }): JSX.Element {
  const isPaused = feed.mode.value !== "following" && !feed.isHeld.value && pausedAt !== null;
  const text = describeRate(feed.perSecond.value);
  const at = isPaused && pausedAt !== null ? `; paused at ${formatTime(pausedAt, zone.value, pausedAt)}` : "";
  return <span class="two not-phone">{text === "" ? "" : text + at}</span>;
}
