import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Hand, RELEASE_MS } from "../src/parts/hold.ts";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

function handOf(): readonly [Hand, boolean[]] {
  const told: boolean[] = [];
  return [new Hand((isHeld) => told.push(isHeld)), told];
}

describe("the hand on a list", () => {
  test("lets go a second after the last sign", () => {
    const [hand, told] = handOf();
    hand.add("pointer");
    hand.add("focus");
    hand.remove("pointer");
    vi.advanceTimersByTime(10 * RELEASE_MS);
    expect(told.at(-1)).toBe(true);
    hand.remove("focus");
    vi.advanceTimersByTime(RELEASE_MS - 1);
    expect(told.at(-1)).toBe(true);
    vi.advanceTimersByTime(1);
    expect(told.at(-1)).toBe(false);
  });

  test("coming back within the second goes on holding", () => {
    const [hand, told] = handOf();
    hand.add("pointer");
    hand.remove("pointer");
    hand.add("pointer");
    vi.advanceTimersByTime(10 * RELEASE_MS);
    expect(told).not.toContain(false);
  });

  test("a scroll holds until it has been still for a second, and not beyond a pointer that stays", () => {
    const [hand, told] = handOf();
    hand.pulse();
    vi.advanceTimersByTime(RELEASE_MS - 1);
    hand.pulse();
    vi.advanceTimersByTime(RELEASE_MS);
    expect(told).toEqual([true, true, false]);
    hand.add("pointer");
    hand.pulse();
    vi.advanceTimersByTime(10 * RELEASE_MS);
    expect(told.at(-1)).toBe(true);
  });

  test("the end of a touch elsewhere holds nothing", () => {
    const [hand, told] = handOf();
    hand.remove("touch");
    vi.advanceTimersByTime(RELEASE_MS);
    expect(told).toEqual([]);
  });
});
