/** What the list shows: saved views, the field for filters, states, groups, order and columns. */

import { type ReadonlySignal, useComputed, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useId, useMemo, useRef } from "preact/hooks";
import { LOOK_WORDS } from "../../format/operation.ts";
import { grouped } from "../../format/span.ts";
import { type Command, useCommands } from "../../keys.ts";
import { Chip } from "../../parts/chip.tsx";
import { Icon } from "../../parts/icon.tsx";
import { Menu, type MenuItems } from "../../parts/menu.tsx";
import { changeFilter } from "./address.ts";
import {
  ALL_COLUMNS,
  COLUMNS,
  type Column,
  GROUPINGS,
  type Grouping,
  isFiltering,
  parseTyped,
  SORTS,
  type Sort,
  type StateChoice,
  withoutFilters,
} from "./filter.ts";
import { filter, sortAgain, totals } from "./model.ts";
import { isSelecting, stopSelecting } from "./selection.ts";

/** Milliseconds after the last letter before the hub is asked. */
const TYPING_MS = 200;

/** The bar of filters, and the chips below it. */
export function Filters(): JSX.Element {
  return (
    <>
      <div class="filters" role="search">
        <Field />
        <States />
        <span class="grow not-phone" />
        <AddFilter />
        <GroupMenu />
        <SortMenu />
        <ColumnsMenu />
        <button
          type="button"
          class="btn plain"
          aria-pressed={isSelecting.value}
          onClick={() => {
            if (isSelecting.value) stopSelecting();
            else isSelecting.value = true;
          }}
        >
          Choose
        </button>
      </div>
      <Chips />
    </>
  );
}

function Field(): JSX.Element {
  const field = useRef<HTMLInputElement>(null);
  const id = useId();
  const typed = useSignal(filter.peek().text);
  const timer = useRef<ReturnType<typeof setTimeout>>();
  const text = filter.value.text;
  // The address is the truth: it also changes by a saved view, or by going back.
  useEffect(() => {
    if (document.activeElement !== field.current || text === "") typed.value = text;
  }, [text, typed]);
  const apply = (line: string, replace: boolean) => {
    clearTimeout(timer.current);
    if (!replace) {
      const next = parseTyped(line, filter.peek());
      typed.value = next.text;
      changeFilter(next);
    } else changeFilter({ text: line.trim() }, { replace });
  };
  const commands = useMemo<readonly Command[]>(
    () => [
      {
        keys: ["/"],
        does: "to the filter",
        run: () => {
          field.current?.focus();
          field.current?.select();
        },
      },
      {
        keys: ["Escape"],
        does: "",
        inFields: true,
        run: (event) => {
          if (event.target !== field.current) return false;
          if (typed.peek() === "") field.current?.blur();
          else {
            typed.value = "";
            changeFilter({ text: "" }, { replace: true });
          }
          return true;
        },
      },
    ],
    [typed],
  );
  useCommands(commands);
  return (
    <div class="field">
      <Icon name="search" />
      <label class="sr" for={id}>
        Filter by name, id or text; name:, path:, producer: and parent: filter by one of them
      </label>
      <input
        ref={field}
        id={id}
        type="search"
        placeholder="Filter by name, id or text"
        maxLength={200}
        autocomplete="off"
        spellcheck={false}
        value={typed}
        onInput={(event) => {
          const line = event.currentTarget.value;
          typed.value = line;
          clearTimeout(timer.current);
          // What may become a condition waits for Enter.
          if (!/\b(name|path|producer|parent|state):/.test(line))
            timer.current = setTimeout(apply, TYPING_MS, line, true);
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter") apply(typed.peek(), false);
        }}
        onBlur={() => {
          if (typed.peek().trim() !== filter.peek().text) apply(typed.peek(), false);
        }}
      />
      <kbd class="not-phone">/</kbd>
    </div>
  );
}

const SHOWN_STATES: readonly StateChoice[] = ["queued", "running", "failed", "cancelled", "complete"];

function States(): JSX.Element {
  const states = filter.value.states;
  const toggle = (state: StateChoice) => {
    const next = new Set(states);
    if (!next.delete(state)) next.add(state);
    changeFilter({ states: next });
  };
  const items = (): MenuItems => [
    { label: "All states", isChosen: states.size === 0, run: () => changeFilter({ states: new Set() }) },
    ...[...SHOWN_STATES, "stalled" as const, "away" as const].map((state) => ({
      label: sentenceCase(LOOK_WORDS[state]),
      isChosen: states.has(state),
      run: () => toggle(state),
    })),
  ];
  const chosen = [...states].map((state) => LOOK_WORDS[state]).join(", ");
  return (
    <>
      <fieldset class="set not-phone">
        <legend class="sr">State</legend>
        <button
          class="btn"
          type="button"
          aria-pressed={states.size === 0}
          onClick={() => changeFilter({ states: new Set() })}
        >
          All
        </button>
        {SHOWN_STATES.map((state) => (
          <button key={state} class="btn" type="button" aria-pressed={states.has(state)} onClick={() => toggle(state)}>
            {sentenceCase(LOOK_WORDS[state])} <Count of={state} />
          </button>
        ))}
      </fieldset>
      <span class="only-phone">
        <Menu label="State" class="btn" items={items} staysOpen>
          State: {chosen || "all"} <Icon name="down" />
        </Menu>
      </span>
    </>
  );
}

function Count({ of }: { readonly of: StateChoice }): JSX.Element {
  const text: ReadonlySignal<string> = useComputed(() => {
    const number = totals.value?.[of];
    return number === undefined ? "" : grouped(number);
  });
  return <span class="count">{text}</span>;
}

const GROUP_WORDS: Readonly<Record<Grouping, string>> = {
  state: "State",
  name: "Name",
  producer: "Producer",
  parent: "Parent",
  none: "No groups",
};

function GroupMenu(): JSX.Element {
  const items = (): MenuItems =>
    GROUPINGS.map((group) => ({
      label: GROUP_WORDS[group],
      isChosen: filter.peek().group === group,
      run: () => changeFilter({ group }),
    }));
  return (
    <span class="not-phone">
      <Menu label="Group" items={items}>
        Group: {GROUP_WORDS[filter.value.group].toLowerCase()} <Icon name="down" />
      </Menu>
    </span>
  );
}

function SortMenu(): JSX.Element {
  const items = (): MenuItems =>
    (Object.keys(SORTS) as Sort[]).map((sort) => ({
      label: SORTS[sort],
      isChosen: filter.peek().sort === sort,
      run: () => {
        if (filter.peek().sort === sort) sortAgain();
        else changeFilter({ sort });
      },
    }));
  return (
    <span class="not-phone">
      <Menu label="Sort" items={items}>
        Sort: {SORTS[filter.value.sort].toLowerCase()} <Icon name="down" />
      </Menu>
    </span>
  );
}

function ColumnsMenu(): JSX.Element {
  const items = (): MenuItems => {
    const { columns } = filter.value;
    return (Object.keys(COLUMNS) as Column[]).map((column) => ({
      label: COLUMNS[column],
      isChosen: columns.has(column),
      run: () => {
        const next = new Set(columns);
        if (!next.delete(column)) next.add(column);
        changeFilter({ columns: next.size === ALL_COLUMNS.size ? ALL_COLUMNS : next }, { replace: true });
      },
    }));
  };
  return (
    <span class="not-phone">
      <Menu label="Columns" items={items} staysOpen>
        Columns <Icon name="down" />
      </Menu>
    </span>
  );
}

/** Begins a condition in the field, which is the one place to type it. */
function AddFilter(): JSX.Element {
  const begin = (key: string) => () => {
    const field = document.querySelector<HTMLInputElement>(".filters input[type=search]");
    if (field === null) return;
    field.value = `${field.value.trim()} ${key}:`.trimStart();
    field.dispatchEvent(new Event("input", { bubbles: true }));
    requestAnimationFrame(() => field.focus());
  };
  const items: MenuItems = [
    { label: "Name…", run: begin("name") },
    { label: "Path…", run: begin("path") },
    { label: "Producer…", run: begin("producer") },
    { label: "Parent…", run: begin("parent") },
  ];
  return (
    <span class="not-phone">
      <Menu label="Add a filter" items={items}>
        <Icon name="plus" /> Filter
      </Menu>
    </span>
  );
}

function Chips(): JSX.Element | null {
  const now = filter.value;
  if (!isFiltering(now)) return null;
  const without = (list: readonly string[], value: string) => list.filter((each) => each !== value);
  const conditions = (["stalled", "away"] as const).filter((state) => now.states.has(state));
  return (
    <div class="chips">
      {now.text.trim() === "" ? null : (
        <Chip label="text" value={now.text} onRemove={() => changeFilter({ text: "" })} />
      )}
      {conditions.map((state) => (
        <Chip
          key={state}
          label="state"
          value={LOOK_WORDS[state]}
          onRemove={() => changeFilter({ states: new Set([...now.states].filter((each) => each !== state)) })}
        />
      ))}
      {now.names.map((name) => (
        <Chip key={name} label="name" value={name} onRemove={() => changeFilter({ names: without(now.names, name) })} />
      ))}
      {now.paths.map((path) => (
        <Chip key={path} label="path" value={path} onRemove={() => changeFilter({ paths: without(now.paths, path) })} />
      ))}
      {now.producer === "" ? null : (
        <Chip label="producer" value={now.producer} onRemove={() => changeFilter({ producer: "" })} />
      )}
      {now.parent === "" ? null : (
        <Chip label="parent" value={now.parent} onRemove={() => changeFilter({ parent: "" })} />
      )}
      <button type="button" class="btn plain" onClick={() => changeFilter(withoutFilters(now))}>
        Remove all filters
      </button>
    </div>
  );
}

function sentenceCase(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}
