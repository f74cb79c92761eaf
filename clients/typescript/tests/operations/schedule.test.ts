import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { followVisibility, makeSchedule } from "../../src/operations/schedule.ts";
import { FakePage } from "./fake-source.ts";

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

test("a page counts as hidden after ten seconds, and not any more when it is shown", () => {
  const page = new FakePage();
  page.install();
  const changed = vi.fn<(isHidden: boolean) => void>();
  const stop = followVisibility(changed);
  page.show("hidden");
  vi.advanceTimersByTime(9_999);
  page.show("visible");
  vi.advanceTimersByTime(60_000);
  expect(changed.mock.calls).toEqual([]);
  page.show("hidden");
  vi.advanceTimersByTime(10_000);
  page.show("visible");
  expect(changed.mock.calls).toEqual([[true], [false]]);
  page.show("hidden");
  stop();
  vi.advanceTimersByTime(60_000);
  expect(changed).toHaveBeenCalledTimes(2);
});

test("a page that is opened in the background becomes hidden, and a program in Node never", () => {
  const changed = vi.fn<(isHidden: boolean) => void>();
  followVisibility(changed);
  vi.advanceTimersByTime(60_000);
  expect(changed.mock.calls).toEqual([]);
  const page = new FakePage();
  page.visibilityState = "hidden";
  page.install();
  followVisibility(changed);
  vi.advanceTimersByTime(10_000);
  expect(changed.mock.calls).toEqual([[true]]);
});
