import { afterEach, expect, test, vi } from "vitest";
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
