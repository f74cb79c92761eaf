/** The children of an operation as a tree, in which what ended well takes no room. */

import type { Row } from "../../format/row.ts";

/** One child with its own children. */
export interface Branch {
  readonly operation: Row;
  readonly children: readonly Branch[];
}

/** Generations that are shown. Parent ids come from clients and may form cycles. */
const MAX_DEPTH = 8;

/**
 * The tree below an operation.
 *
 * @param known - Operations of which some are descendants, in any order; of one id the last counts.
 */
export function treeBelow(parentId: string, known: Iterable<Row>): readonly Branch[] {
  const byId = new Map<string, Row>();
  for (const operation of known) byId.set(operation.operation_id, operation);
  const byParent = new Map<string, Row[]>();
  for (const operation of byId.values()) {
    if (operation.parent_id === undefined) continue;
    const siblings = byParent.get(operation.parent_id);
    if (siblings === undefined) byParent.set(operation.parent_id, [operation]);
    else siblings.push(operation);
  }
  const seen = new Set([parentId]);
  const below = (id: string, depth: number): readonly Branch[] => {
    if (depth === MAX_DEPTH) return [];
    const branches: Branch[] = [];
    for (const operation of (byParent.get(id) ?? []).sort(byBegin)) {
      if (seen.has(operation.operation_id)) continue;
      seen.add(operation.operation_id);
      branches.push({ operation, children: below(operation.operation_id, depth + 1) });
    }
    return branches;
  };
  return below(parentId, 0);
}

function byBegin(one: Row, other: Row): number {
  const begin = (operation: Row) => operation.started_at ?? operation.queued_at ?? operation.heard_at;
  const difference = Date.parse(begin(one)) - Date.parse(begin(other));
  return difference || (one.operation_id < other.operation_id ? -1 : 1);
}

/** Whether a branch and everything below it is complete: it may be collapsed. */
export function isFinished(branch: Branch): boolean {
  return branch.operation.state === "complete" && branch.children.every(isFinished);
}

/** Number of operations in branches, those below included. */
export function sizeOf(branches: readonly Branch[]): number {
  return branches.reduce((sum, branch) => sum + 1 + sizeOf(branch.children), 0);
}

/** `2 complete, 1 running, 1 failed`, of the children themselves. */
export function describeChildren(branches: readonly Branch[]): string {
  const order = ["complete", "running", "queued", "failed", "cancelled"] as const;
  return order
    .map((state) => [branches.filter(({ operation }) => operation.state === state).length, state] as const)
    .filter(([count]) => count > 0)
    .map(([count, state]) => `${count} ${state}`)
    .join(", ");
}
