import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { followVisibility } from "../../src/operations/pace.ts";
import { makeSchedule } from "../../src/operations/schedule.ts";

/** A page whose frames come when the test says so. */
class FakePage extends EventTarget {
  visibilityState: "visible" | "hidden" = "visible";
  readonly frames = new Map<number, () => void>();
  #count = 0;

  install(): void {
    vi.stubGlobal("document", this);
    vi.stubGlobal("requestAnimationFrame", (callback: () => void) => {
      this.#count += 1;
      this.frames.set(this.#count, callback);
      return this.#count;
    });
    vi.stubGlobal("cancelAnimationFrame", (id: number) => this.frames.delete(id));
  }

  frame(): void {
    const due = [...this.frames.values()];
    this.frames.clear();
    for (const callback of due) callback();
  }

  show(state: "visible" | "hidden"): void {
    this.visibilityState = state;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

beforeEach(() => vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("a visible page publishes once per frame, however often it is asked", () => {
  const page = new FakePage();
  page.install();
  const publish = vi.fn();
  const schedule = makeSchedule(publish);
  for (let frame = 1; frame <= 3; frame += 1) {
    for (let request = 0; request < 1_000; request += 1) schedule.request();
    expect(page.frames.size).toBe(1);
    page.frame();
    expect(publish).toHaveBeenCalledTimes(frame);
  }
  page.frame();
  vi.advanceTimersByTime(60_000);
  expect(publish).toHaveBeenCalledTimes(3);
});

test("a hidden page publishes once per second, also if it was hidden while it waited for a frame", () => {
  const page = new FakePage();
  page.install();
  const publish = vi.fn();
  const schedule = makeSchedule(publish);
  schedule.request();
  page.show("hidden");
  expect(page.frames.size).toBe(0);
  vi.advanceTimersByTime(999);
  expect(publish).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(publish).toHaveBeenCalledTimes(1);
  for (let ms = 0; ms < 10_000; ms += 10) {
    schedule.request();
    vi.advanceTimersByTime(10);
  }
  expect(publish).toHaveBeenCalledTimes(11);
});

test("a page that is shown again publishes with its next frame", () => {
  const page = new FakePage();
  page.install();
  page.show("hidden");
  const publish = vi.fn();
  makeSchedule(publish).request();
  page.show("visible");
  page.frame();
  expect(publish).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(5_000);
  expect(publish).toHaveBeenCalledTimes(1);
});

test("without frames, a timer publishes; a cancelled publication does not come", () => {
  const publish = vi.fn();
  const schedule = makeSchedule(publish);
  schedule.request();
  schedule.request();
  vi.advanceTimersByTime(50);
  expect(publish).toHaveBeenCalledTimes(1);
  schedule.request();
  schedule.cancel();
  vi.advanceTimersByTime(5_000);
  expect(publish).toHaveBeenCalledTimes(1);
  expect(vi.getTimerCount()).toBe(0);
});

test("a page is slow ten seconds after it was hidden, and not any more when it is shown", () => {
  const page = new FakePage();
  page.install();
  const pace = vi.fn<(ms: number) => void>();
  const stop = followVisibility(pace);
  page.show("hidden");
  vi.advanceTimersByTime(9_999);
  page.show("visible");
  vi.advanceTimersByTime(60_000);
  expect(pace.mock.calls).toEqual([]);
  page.show("hidden");
  vi.advanceTimersByTime(10_000);
  page.show("visible");
  expect(pace.mock.calls).toEqual([[5_000], [250]]);
  page.show("hidden");
  stop();
  vi.advanceTimersByTime(60_000);
  expect(pace).toHaveBeenCalledTimes(2);
});

test("a page that is opened in the background becomes slow, and a program in Node never", () => {
  const pace = vi.fn<(ms: number) => void>();
  followVisibility(pace);
  vi.advanceTimersByTime(60_000);
  expect(pace.mock.calls).toEqual([]);
  const page = new FakePage();
  page.visibilityState = "hidden";
  page.install();
  followVisibility(pace);
  vi.advanceTimersByTime(10_000);
  expect(pace.mock.calls).toEqual([[5_000]]);
});
