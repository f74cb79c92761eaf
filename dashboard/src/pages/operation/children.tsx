/** The parts of an operation: the operations that name it as their parent, with those that are complete collapsed. */

import { type ReadonlySignal, useComputed, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { errorOf, isLive, lookOf, nameOf, remainingOf } from "../../format/operation.ts";
import type { Row } from "../../format/row.ts";
import { counted, formatPreciseSpan } from "../../format/span.ts";
import { hub } from "../../hub.ts";
import { Bar } from "../../parts/bar.tsx";
import { Icon, StateIcon } from "../../parts/icon.tsx";
import { Go, hrefOf } from "../../router.tsx";
import type { OperationDetail } from "./detail.ts";
import { type Branch, describeChildren, isFinished, sizeOf, treeBelow } from "./family.ts";
import { liveRow } from "./live-row.ts";

/** Children shown: as many as the hub lists with their parent. */
const MAX_CHILDREN = 100;
/** Children whose own children are read. */
const MAX_PARENTS = 20;
/** Complete children beyond which they are collapsed. */
const MAX_FINISHED = 3;

/** The section; nothing without children. */
export function Children({ detail }: { readonly detail: ReadonlySignal<OperationDetail> }): JSX.Element | null {
  const { operation_id: id, children } = detail.value;
  const below = useGrandchildren(children);
  const tree = treeBelow(id, [...children, ...below]);
  if (tree.length === 0) return null;
  return (
    <section class="sec frozen" aria-labelledby="h-parts">
      <header>
        <h2 id="h-parts">Parts</h2>
        <span class="note">{describeChildren(tree)}</span>
      </header>
      <Branches branches={tree} />
      {children.length >= MAX_CHILDREN ? (
        <p class="note-s two">
          The newest {MAX_CHILDREN}. <Go href={hrefOf("operations", { parent: id })}>All of them</Go>
        </p>
      ) : null}
    </section>
  );
}

/** Reads the children of the children once for each set of them. */
function useGrandchildren(children: readonly Row[]): readonly Row[] {
  const read = useSignal<readonly Row[]>([]);
  const parents = children.slice(-MAX_PARENTS).map((child) => child.operation_id);
  useEffect(() => {
    const ending = new AbortController();
    const readAll = async () => {
      const found: Row[] = [];
      for (const parent of parents) {
        const query = new URLSearchParams({ parent, limit: String(MAX_PARENTS) });
        const page = await hub.request<{ operations: readonly Row[] }>(`v1/operations?${query}`, {
          signal: ending.signal,
        });
        found.push(...page.operations);
      }
      read.value = found;
    };
    // The children themselves are shown in any case.
    readAll().catch(() => {});
    return () => ending.abort();
  }, [parents.join("\n")]);
  return read.value;
}

function Branches({ branches }: { readonly branches: readonly Branch[] }): JSX.Element {
  const isOpen = useSignal(false);
  const finished = branches.filter(isFinished);
  const isCollapsed = finished.length > MAX_FINISHED;
  const shown = isCollapsed && !isOpen.value ? branches.filter((branch) => !isFinished(branch)) : branches;
  return (
    <>
      {isCollapsed ? (
        <button
          type="button"
          class="btn plain fold"
          aria-expanded={isOpen.value}
          onClick={() => {
            isOpen.value = !isOpen.value;
          }}
        >
          <Icon name={isOpen.value ? "down" : "right"} />
          {counted(sizeOf(finished), "complete part")}
        </button>
      ) : null}
      <ul class="tree">
        {shown.map((branch) => (
          <li key={branch.operation.operation_id}>
            <Child row={branch.operation} />
            {branch.children.length > 0 ? <Branches branches={branch.children} /> : null}
          </li>
        ))}
      </ul>
    </>
  );
}

/** One child, live as long as it is shown. */
function Child({ row }: { readonly row: Row }): JSX.Element {
  return isLive(row) ? <LiveChild key={row.operation_id} row={row} /> : <EndedChild row={row} />;
}

function LiveChild({ row }: { readonly row: Row }): JSX.Element {
  const live = useMemo(() => liveRow(row.operation_id), [row.operation_id]);
  const listed = useSignal(row);
  listed.value = row;
  const known = useComputed(() => live.value ?? listed.value);
  const isRunning = useComputed(() => isLive(known.value));
  const look = useComputed(() => lookOf(known.value));
  const left = useComputed(() => remainingOf(known.value));
  if (!isRunning.value) return <EndedChild row={known.value} />;
  return (
    <div>
      <StateIcon look={look.value} />
      <ChildLink row={row} />
      <span class="num two">{left}</span>
      {look.value === "queued" ? null : <Bar operation={known} />}
    </div>
  );
}

function EndedChild({ row }: { readonly row: Row }): JSX.Element {
  const look = lookOf(row);
  return (
    <div>
      <StateIcon look={look} />
      <ChildLink row={row} />
      <span class="num two">{row.duration_s === undefined ? "" : formatPreciseSpan(row.duration_s)}</span>
      {look === "failed" ? <span class="say say-failed cut">{errorOf(row)}</span> : null}
    </div>
  );
}

function ChildLink({ row }: { readonly row: Row }): JSX.Element {
  return (
    <Go class="cut" href={hrefOf("operation", { id: row.operation_id, name: row.name })} title={nameOf(row)}>
      {nameOf(row)}
    </Go>
  );
}
