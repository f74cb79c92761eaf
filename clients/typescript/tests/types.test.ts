/** The types tell events and notices apart by `type`, and let unknown types through. */
import { expect, expectTypeOf, test } from "vitest";
import type { WatchItem } from "../src/index.ts";

/** Describe an item; it compiles only if each comparison of `type` narrows `data`. */
function describeItem(item: WatchItem): string {
  switch (item.type) {
    case "operation:progress":
      expectTypeOf(item.data.progress).toEqualTypeOf<number>();
      return `${item.data.progress} % at ${item.position}`;
    case "channel:gap":
      expectTypeOf(item.data.until).toEqualTypeOf<string>();
      return `a gap until ${item.data.until}`;
    case "client:overflow":
      return `${item.data.dropped} dropped`;
    case "channel:subscribed":
    case "channel:live":
    case "client:removed":
      return item.type;
    default:
      expectTypeOf(item.position).toEqualTypeOf<string>();
      return `${item.type} at ${item.position}`;
  }
}

test("an item is described by its type", () => {
  const event = { timestamp: "", trace_id: "", channel: "weather", position: "p:1" };
  const progress = { ...event, type: "operation:progress", data: { operation_id: "a", progress: 40 } };
  const unknown = { ...event, type: "weather:changed", data: { city: "Oslo" } };
  expect(describeItem(progress as WatchItem)).toBe("40 % at p:1");
  expect(describeItem(unknown as unknown as WatchItem)).toBe("weather:changed at p:1");
  expect(describeItem({ type: "channel:gap", data: { after: "a", until: "b", reason: "trimmed" } })).toBe(
    "a gap until b",
  );
});
