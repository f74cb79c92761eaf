/** The machines of a hub that has several. */

import type { JSX } from "preact";
import { counted, formatSpan, grouped } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { Icon } from "../../parts/icon.tsx";
import type { NodeFacts } from "./facts.ts";
import { Table } from "./table.tsx";

/** Nodes send a sign of life each second. */
const SILENT_S = 3;

interface NodesProps {
  /** Undefined for a hub of one machine. */
  readonly nodes: readonly NodeFacts[] | undefined;
}

/** Each node: whether it is ready, what it serves, and how far its log is. */
export function Nodes({ nodes }: NodesProps): JSX.Element | null {
  if (nodes === undefined) return null;
  const ready = nodes.filter((node) => node.ready).length;
  return (
    <section aria-label="Nodes">
      <div class="h-sec">
        <h2>Nodes</h2>
        <span class="three">
          {grouped(ready)} of {grouped(nodes.length)} ready
        </span>
      </div>
      <Table class="workers" label="Nodes" heads={["Name", "State", "Version", "Connections", "Behind"]} rows={nodes}>
        {(node, index) => <NodeLine key={node.name} node={node} index={index} />}
      </Table>
    </section>
  );
}

function describeNode(node: NodeFacts): string {
  if (node.ready) return node.leads ? "ready, leads" : "ready";
  return node.silent_s > SILENT_S ? `silent for ${formatSpan(node.silent_s)}` : "not ready";
}

interface NodeLineProps {
  readonly node: NodeFacts;
  readonly index: number;
}

function NodeLine({ node, index }: NodeLineProps): JSX.Element {
  const { behind_entries: behind, connections, ready } = node;
  return (
    <div class="lrow" role="row" aria-rowindex={index}>
      <div role="cell" class="who mid">
        <Icon name={ready ? "complete" : "failed"} class={ready ? "s-complete" : "s-failed"} />
        <span class="cut">
          {plain(node.name)}
          {node.here ? <span class="three not-phone"> serves this page</span> : null}
        </span>
      </div>
      <div role="cell" class={`cut ${ready ? "two" : "say-warn"}`}>
        {describeNode(node)}
      </div>
      <div role="cell" class="c-x cut two">
        {plain(node.version)}
      </div>
      <div role="cell" class="num two">
        {connections === undefined ? "" : grouped(connections)}
      </div>
      <div role="cell" class="c-x num two">
        {behind > 0 ? counted(behind, "entry", "entries") : ""}
      </div>
    </div>
  );
}
