/** In the place of an operation that the hub does not have: why that may be, and where to go. */

import { lastListHref } from "../operations/last-list.ts";
import "./operation.css";
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { lookOf, nameOf } from "../../format/operation.ts";
import type { Row } from "../../format/row.ts";
import { plain } from "../../format/text.ts";
import { hub } from "../../hub.ts";
import { Age } from "../../parts/age.tsx";
import { StateIcon } from "../../parts/icon.tsx";
import { Go, hrefOf } from "../../router.tsx";

/** Operations that are offered. */
const MAX_OFFERED = 5;

export interface GoneProps {
  readonly operationId: string;
  /** Its name, if the address names it. */
  readonly name: string;
  /** What the hub says: the nearest ids are in quotes. The rest is for those who call its routes. */
  readonly hint: string;
}

/** The page. */
export function Gone({ operationId, name, hint }: GoneProps): JSX.Element {
  const newest = useNewest(name, operationId);
  const near = Array.from(hint.matchAll(/'([^']+)'/g), ([, id = ""]) => id);
  return (
    <div class="head">
      <div class="crumb">
        <Go href={lastListHref.value}>Operations</Go>
      </div>
      <div class="title">
        <h1>
          {operationId === "" ? "The address names no operation" : `The hub has no operation “${plain(operationId)}”`}
        </h1>
      </div>
      <p class="sentence">
        {operationId === "" ? (
          "The address of one ends in “?id=” and its id; a part of this one may have been lost on the way."
        ) : (
          <>
            The hub keeps ended operations for a week, up to 50,000 of them, unless it is set otherwise, and the newest
            run of each name for longer. An older one is gone, and so is one that this reader may not see.
          </>
        )}
      </p>
      {near.length === 0 ? null : (
        <p class="two">
          Did you mean{" "}
          {near.map((id, index) => (
            <span key={id}>
              {index === 0 ? "" : " or "}
              <Go href={hrefOf("operation", { id })}>{plain(id)}</Go>
            </span>
          ))}
          ?
        </p>
      )}
      {newest.length === 0 ? null : (
        <>
          <h2 class="gone-offer">{name === "" ? "Operations like it" : `The newest runs of “${plain(name)}”`}</h2>
          <ul class="tree runs">
            {newest.map((row) => (
              <li key={row.operation_id}>
                <div>
                  <StateIcon look={lookOf(row)} />
                  <Go href={hrefOf("operation", { id: row.operation_id, name: row.name })}>
                    {nameOf(row)} <span class="three mono">{plain(row.operation_id)}</span>
                  </Go>
                  <span class="two">
                    <Age at={row.ended_at ?? row.started_at ?? row.heard_at} />
                  </span>
                </div>
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}

/** The newest runs of the name; without a name, operations whose id begins alike. */
function useNewest(name: string, operationId: string): readonly Row[] {
  const found = useSignal<readonly Row[]>([]);
  useEffect(() => {
    if (name === "" && operationId === "") return;
    const ending = new AbortController();
    const query = new URLSearchParams({ limit: String(MAX_OFFERED) });
    if (name === "") query.set("q", stemOf(operationId));
    else query.set("name", name);
    hub
      .request<{ operations: readonly Row[] }>(`v1/operations?${query}`, { signal: ending.signal })
      .then(({ operations }) => {
        found.value = operations;
      })
      .catch(() => {}); // there is nothing to offer then
    return () => ending.abort();
  }, [name, operationId]);
  return found.value;
}

/** An id without the number or date at its end: runs of one job often differ only there. */
function stemOf(id: string): string {
  return id.replace(/[-_./:]?[\dT:.Z-]+$/, "").slice(0, 200) || id.slice(0, 200);
}
