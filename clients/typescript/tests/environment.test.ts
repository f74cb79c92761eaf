import { afterEach, expect, test, vi } from "vitest";
import { HubClock } from "../src/clock.ts";
import { makeEnvironment, type PageEvent } from "../src/environment.ts";

afterEach(() => vi.unstubAllGlobals());

test("a page is noticed when it is hidden, frozen to save power, resumed and shown, until nobody asks", () => {
  const document = Object.assign(new EventTarget(), { visibilityState: "hidden" });
  vi.stubGlobal("document", document);
  const seen: PageEvent[] = [];
  const stop = makeEnvironment({}).watchPage((event) => seen.push(event));
  for (const name of ["visibilitychange", "freeze", "resume"]) document.dispatchEvent(new Event(name));
  document.visibilityState = "visible";
  document.dispatchEvent(new Event("visibilitychange"));
  stop();
  document.dispatchEvent(new Event("freeze"));
  expect(seen).toEqual(["hidden", "frozen", "woken", "shown"]);
});

test("the hub's time does not go back for a message that is late, and follows a clock that was set back", () => {
  let now = 1_000;
  const clock = new HubClock(
    () => now,
    () => 0,
  );
  const at = (seconds: number): string => new Date(1_750_000_000_000 + 1000 * seconds).toISOString();
  const shown = (): number => (clock.now() - 1_750_000_000_000) / 1000;
  clock.set(at(100));
  expect(shown()).toBe(100);
  now += 5_000;
  expect(shown()).toBe(105);
  clock.set(at(102)); // sent three seconds ago
  expect(shown()).toBe(105);
  now += 4_000;
  expect(shown()).toBe(106);
  clock.set(at(-7_000));
  expect(shown()).toBe(-7_000);
  now += 2_000;
  expect(shown()).toBe(-6_998);
});
