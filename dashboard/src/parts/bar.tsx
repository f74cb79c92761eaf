/** The bar of an operation: what is done, what is left, and where its end is expected. */

import { type ReadonlySignal, useComputed } from "@preact/signals";
import type { JSX } from "preact";
import { now } from "../clock.ts";
import { barOf, barText, percentAttribute } from "../format/bar.ts";
import { messageOf, nameOf, percentOf, remainingOf } from "../format/operation.ts";
import type { Row } from "../format/row.ts";

/** Properties of {@link Bar}. */
export interface BarProps {
  readonly operation: ReadonlySignal<Row>;
}

/** A progress bar. A change of the operation writes its attributes and renders nothing, except where ticks change. */
export function Bar({ operation }: BarProps): JSX.Element {
  const shape = useComputed(() => barOf(operation.value));
  const kind = useComputed(() => shape.value.kind);
  const fill = useComputed(() => percentAttribute(shape.value.fill ?? 0));
  const isEnded = useComputed(() => kind.value === "complete");
  const tail = useComputed(() => percentAttribute(shape.value.tail ?? 100));
  const tailWidth = useComputed(() => percentAttribute(100 - (shape.value.tail ?? 100)));
  const likely = useComputed(() => percentAttribute(shape.value.likely ?? 0));
  const isLikely = useComputed(() => (shape.value.likely === undefined ? "hidden" : "visible"));
  const hasEdge = useComputed(() => (shape.value.fill === undefined ? "hidden" : "visible"));
  // Screen readers repeat each change of a value: once a second is enough.
  const percent = useComputed(() => (kind.value && now.value ? percentOf(operation.peek()) : undefined));
  const text = useComputed(() => {
    const current = kind.value && now.value ? operation.peek() : operation.peek();
    return barText(current, messageOf(current, now.value), remainingOf(current));
  });
  const label = useComputed(() => `${nameOf(operation.value)}: progress`);
  return (
    <svg
      class={useComputed(() => `bar b-${kind.value}`)}
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent}
      aria-valuetext={text}
    >
      <rect class="track" width="100%" height="100%" rx="2" />
      <rect class="tail" x={tail} width={tailWidth} height="100%" rx="2" />
      <line class="likely" x1={likely} x2={likely} y2="100%" visibility={isLikely} />
      <rect
        class="fill"
        width={fill}
        y={useComputed(() => (isEnded.value ? "37.5%" : "0"))}
        height={useComputed(() => (isEnded.value ? "25%" : "100%"))}
        rx={useComputed(() => (isEnded.value ? "1" : "2"))}
      />
      <Ticks places={useComputed(() => shape.value.ticks.map(percentAttribute).join(" "))} />
      <line class="edge" x1={fill} x2={fill} y1="-35%" y2="135%" visibility={hasEdge} />
    </svg>
  );
}

function Ticks({ places }: { readonly places: ReadonlySignal<string> }): JSX.Element {
  const known = places.value === "" ? [] : places.value.split(" ");
  return (
    <>
      {known.map((place) => (
        <line key={place} class="tick" x1={place} x2={place} y2="100%" />
      ))}
    </>
  );
}
