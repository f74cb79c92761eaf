/** Saved views: names for addresses of the list, kept by this browser. */

import { signal, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useId } from "preact/hooks";
import { TidingsError } from "tidings";
import { grouped } from "../../format/span.ts";
import { connection, hub } from "../../hub.ts";
import { Icon } from "../../parts/icon.tsx";
import { Popup, useFloating } from "../../parts/popup.tsx";
import { Go, hrefOf } from "../../router.tsx";
import { setting } from "../../settings.ts";
import { type Filter, isFiltering, readFilter, totalsQuery, writeFilter } from "./filter.ts";
import { filter, type Totals, totals } from "./model.ts";
import { nameView, readViews, type View } from "./view-list.ts";

const MAX_NAME_CHARS = 60;

const views = setting<readonly View[]>("views", readViews);

/** The query of a filter's address, in one spelling. */
export function searchOf(of: Filter): string {
  const href = hrefOf("operations", writeFilter(of));
  return href.split("?", 2)[1] ?? "";
}

/** Numbers of operations by query, from the hub. */
const counts = signal<ReadonlyMap<string, number>>(new Map());

async function countViews(): Promise<void> {
  for (const { search } of views.peek()) {
    try {
      const query = totalsQuery(readFilter(new URLSearchParams(search)));
      const answer = await hub.request<{ totals?: Totals }>("v1/operations", { query });
      if (answer.totals !== undefined) counts.value = new Map([...counts.peek(), [search, answer.totals.matching]]);
    } catch (error) {
      if (!(error instanceof TidingsError)) throw error;
      return;
    }
  }
}

/** The saved views; the one that is shown is marked. */
export function Views(): JSX.Element {
  const now = searchOf(filter.value);
  const isSaved = now === "" || views.value.some((view) => view.search === now);
  const isLive = connection.value.state === "live";
  const saved = views.value;
  useEffect(() => {
    if (isLive) void countViews();
  }, [isLive, saved]);
  const matching = totals.value?.matching;
  return (
    <nav class="views" aria-label="Saved views">
      <Go href={hrefOf("operations")} aria-current={now === "" ? "page" : undefined}>
        Everything {now === "" && matching !== undefined ? <span class="count">{grouped(matching)}</span> : null}
      </Go>
      {saved.map((view) => {
        const isShown = view.search === now;
        const count = isShown ? (matching ?? counts.value.get(view.search)) : counts.value.get(view.search);
        return (
          <span key={view.search} class="view">
            <Go href={`${hrefOf("operations")}?${view.search}`} aria-current={isShown ? "page" : undefined}>
              {view.name} {count === undefined ? null : <span class="count">{grouped(count)}</span>}
            </Go>
            {isShown ? (
              <>
                <NameView search={now} view={view} />
                <Forget view={view} />
              </>
            ) : null}
          </span>
        );
      })}
      {isSaved ? null : <NameView search={now} />}
      {isSaved || matching === undefined || !isFiltering(filter.value) ? null : (
        <span class="three">{grouped(matching)} match</span>
      )}
    </nav>
  );
}

function Forget({ view }: { readonly view: View }): JSX.Element {
  return (
    <button
      type="button"
      aria-label={`Forget the view ${view.name}`}
      title="Forget this view"
      onClick={() => {
        views.value = views.peek().filter((each) => each.search !== view.search);
      }}
    >
      <Icon name="close" />
    </button>
  );
}

interface NameViewProps {
  readonly search: string;
  /** The view to rename; undefined for a new one. */
  readonly view?: View;
}

function NameView({ search, view }: NameViewProps): JSX.Element {
  const { open, anchor, toggle } = useFloating();
  const name = useSignal(view?.name ?? "");
  const field = useId();
  const save = (event: Event) => {
    event.preventDefault();
    const given = name.value.trim().slice(0, MAX_NAME_CHARS);
    if (given === "") return;
    open.value = false;
    if (view === undefined) name.value = "";
    views.value = nameView(views.peek(), { name: given, search });
  };
  const title = view === undefined ? "Save this view" : "Rename this view";
  return (
    <>
      <button
        ref={anchor}
        type="button"
        aria-expanded={open.value}
        aria-label={view === undefined ? undefined : `Rename the view ${view.name}`}
        title={view === undefined ? undefined : title}
        onClick={() => {
          name.value = view?.name ?? "";
          toggle();
        }}
      >
        <Icon name={view === undefined ? "plus" : "edit"} />
        {view === undefined ? title : null}
      </button>
      <Popup open={open} anchor={anchor} class="confirm" label={title} role="dialog">
        <form onSubmit={save}>
          <h2>{title}</h2>
          <p>Filters, groups, order and columns are in its address. This browser keeps its name.</p>
          <label for={field}>Name</label>
          <div class="field">
            <input
              id={field}
              type="text"
              maxLength={MAX_NAME_CHARS}
              autocomplete="off"
              value={name}
              onInput={(event) => {
                name.value = event.currentTarget.value;
              }}
            />
          </div>
          <div class="acts">
            <button type="submit" class="btn ink">
              {view === undefined ? "Save it" : "Rename it"}
            </button>
          </div>
        </form>
      </Popup>
    </>
  );
}
