/** The code of the store is loaded with the first listener, over a network that may fail just then. */
import { afterEach, expect, test, vi } from "vitest";

afterEach(() => {
  vi.useRealTimers();
  vi.doUnmock("../../src/operations/store.ts");
});

test("a store whose code did not load is loaded again, until no one listens", async () => {
  vi.useFakeTimers();
  let loads = 0;
  vi.doMock("../../src/operations/store.ts", () => {
    loads += 1;
    throw new TypeError("Failed to fetch dynamically imported module");
  });
  const { LazyOperations } = await import("../../src/operations/lazy.ts");
  const begun: string[] = [];
  const operations = new LazyOperations({
    watch: () => () => {},
    pace: () => {},
    request: (path) => {
      begun.push(path);
      return new Promise(() => {});
    },
    clock: { now: () => 0 },
    grants: () => undefined,
  });
  const stop = operations.subscribe(() => {});
  for (let second = 0; second < 3; second += 1) await vi.advanceTimersByTimeAsync(1_000);
  expect([loads > 1, begun]).toEqual([true, []]);
  vi.doUnmock("../../src/operations/store.ts");
  await vi.waitFor(async () => {
    await vi.advanceTimersByTimeAsync(1_000);
    expect(begun).toEqual(["v1/operations"]);
  });
  stop();
  operations.close();
});
