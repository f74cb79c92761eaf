import type { HubEvent, WatchItem } from "tidings";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Beginning, Feed, type FeedHub } from "../../src/pages/events/feed.ts";
import { EVERYTHING, type LoggedEvent } from "../../src/pages/events/filter.ts";
import type { EarlierRow, OmittedRow, TailRow } from "../../src/pages/events/tail.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function event(n: number): HubEvent {
  const timestamp = "2026-11-29T02:15:00Z";
  return {
    type: "data:update",
    timestamp,
    trace_id: "t",
    channel: "data",
    position: `e:${n}`,
    data: { n },
  } as LoggedEvent as HubEvent;
}

/** A hub with a log, of which it delivers what comes after a watch began. */
class FakeHub {
  head = 0;
  watches: { since: string; paths: readonly string[]; call: (item: WatchItem) => void }[] = [];
  requests: string[] = [];
  failure: Error | null = null;

  readonly hub: FeedHub = {
    watch: ((paths: string[], call: (item: WatchItem) => void, { since }: { since: string }) => {
      const watch = { since, paths, call };
      this.watches.push(watch);
      const after = since === "now" ? this.head : Number(since.split(":")[1]);
      call({ type: "channel:subscribed", data: { channels: ["*"], position: `e:${after}`, outcome: "live" } });
      for (let n = after + 1; n <= this.head; n++) call(event(n));
      return () => {
        this.watches = this.watches.filter((each) => each !== watch);
      };
    }) as FeedHub["watch"],
    request: (async (path: string) => {
      this.requests.push(path);
      if (this.failure !== null) throw this.failure;
      const query = new URLSearchParams(path.split("?")[1]);
      const after = Number(query.get("since")?.split(":")[1] ?? 0);
      const last = query.get("last");
      if (last !== null) {
        const end = Number(query.get("until")?.split(":")[1]);
        const begin = Math.max(after, end - Number(last));
        const events = Array.from({ length: end - begin }, (_, index) => event(begin + 1 + index));
        const earlier = begin > after ? { earlier: `e:${begin}` } : {};
        return { events, next: `e:${end}`, position: `e:${this.head}`, ...earlier };
      }
      const until = Math.min(this.head, after + Number(query.get("limit")));
      const events = Array.from({ length: until - after }, (_, index) => event(after + 1 + index));
      return { events, next: `e:${until}`, position: `e:${this.head}` };
    }) as FeedHub["request"],
  };

  publish(count: number): void {
    for (let index = 0; index < count; index++) {
      this.head++;
      for (const watch of this.watches) watch.call(event(this.head));
    }
  }
}

function begin(beginning: Beginning = { at: "now" }, head = 10) {
  const fake = new FakeHub();
  fake.head = head;
  const feed = new Feed(fake.hub, EVERYTHING, undefined, () => Date.now());
  feed.start(beginning);
  return { fake, feed };
}

const texts = (rows: readonly TailRow[]) =>
  rows.map((row) => (row.kind === "event" ? row.event.position : `${row.kind} ${row.after}-${row.until}`));
const tick = () => vi.advanceTimersByTimeAsync(250);

/** Positions that are on the page, or in a range that is named there, newest first. */
function covered(rows: readonly TailRow[]): number[] {
  const number = (position: string | null) => Number(position?.split(":")[1]);
  return rows.flatMap((row) => {
    if (row.kind === "event") return [number(row.event.position)];
    const [after, until] = [number(row.after), number(row.until)];
    return Array.from({ length: until - after }, (_, index) => until - index);
  });
}

test("new events appear within a quarter of a second", async () => {
  const { fake, feed } = begin();
  expect(feed.isOpen.value).toBe(true);
  fake.publish(2);
  await tick();
  expect(texts(feed.rows.value)).toEqual(["e:12", "e:11"]);
  feed.stop();
  expect(fake.watches).toHaveLength(0);
});

test("a page opens with the newest events, follows, and reads back to the beginning", async () => {
  const { fake, feed } = begin({ at: "newest", after: "first" }, 1_500);
  expect(feed.isOpen.value).toBe(false);
  fake.publish(3);
  await tick();
  expect([feed.isOpen.value, feed.mode.value]).toEqual([true, "following"]);
  expect(fake.requests).toEqual(["v1/events?since=first&last=200&until=e%3A1500"]);
  const last = feed.rows.value.at(-1) as EarlierRow;
  expect([last.kind, last.until, last.fits]).toEqual(["earlier", "e:1300", true]);
  expect(covered(feed.rows.value.slice(0, -1))).toEqual(Array.from({ length: 203 }, (_, index) => 1_503 - index));
  await feed.open(last);
  await feed.open(feed.rows.value.at(-1) as EarlierRow);
  expect(feed.mode.value).toBe("following");
  expect(covered(feed.rows.value)).toEqual(Array.from({ length: 1_503 }, (_, index) => 1_503 - index));
});

test("a window of time ends there, and a log that cannot be read leaves a row to try it again", async () => {
  const fake = new FakeHub();
  fake.head = 10;
  fake.failure = new Error("the link is lost");
  const feed = new Feed(fake.hub, EVERYTHING, undefined, () => Date.now());
  feed.start({ at: "newest", after: "e:4" });
  await tick();
  expect([feed.isOpen.value, feed.problem.value?.error]).toEqual([true, fake.failure]);
  expect(texts(feed.rows.value)).toEqual(["earlier e:4-e:10"]);
  fake.failure = null;
  await feed.open(feed.rows.value[0] as EarlierRow);
  expect(feed.problem.value).toBeNull();
  expect(texts(feed.rows.value)).toEqual(["e:10", "e:9", "e:8", "e:7", "e:6", "e:5"]);
});

test("going on after a short pause reads what was missed, each event once", async () => {
  const { fake, feed } = begin();
  fake.publish(3);
  await tick();
  feed.pause();
  fake.publish(500);
  await tick();
  expect(feed.waiting.value).toBe(500);
  expect(feed.rows.value).toHaveLength(3);
  await feed.goOn();
  fake.publish(20);
  await tick();
  expect(feed.mode.value).toBe("following");
  expect(covered(feed.rows.value)).toEqual(Array.from({ length: 523 }, (_, index) => 533 - index));
  expect(fake.watches).toHaveLength(1);
});

test("events that come while the pause is read are neither lost nor shown twice", async () => {
  const { fake, feed } = begin();
  feed.pause();
  fake.publish(5);
  const going = feed.goOn();
  fake.publish(7);
  await going;
  fake.publish(1);
  await tick();
  expect(covered(feed.rows.value)).toEqual(Array.from({ length: 13 }, (_, index) => 23 - index));
});

test("after a long pause the page follows at once, and names what waits", async () => {
  const { fake, feed } = begin();
  fake.publish(1);
  await tick();
  feed.pause();
  fake.publish(50_000);
  await feed.goOn();
  fake.publish(1);
  await tick();
  expect(fake.requests).toEqual([]);
  expect(texts(feed.rows.value)).toEqual(["e:50012", "omitted e:11-e:50011", "e:11"]);
  const row = feed.rows.value[1] as OmittedRow;
  expect(row.count).toBe(50_000);
  await feed.open(row);
  expect(feed.mode.value).toBe("paused");
  expect(texts(feed.rows.value).slice(0, 3)).toEqual(["e:50012", "omitted e:1011-e:50011", "e:1011"]);
  expect(covered(feed.rows.value)).toEqual(Array.from({ length: 50_002 }, (_, index) => 50_012 - index));
});

test("reading on shows a thousand events at a time and stays paused until the end", async () => {
  const { fake, feed } = begin();
  feed.pause();
  fake.publish(1_500);
  await feed.readOn();
  expect([feed.mode.value, feed.waiting.value]).toEqual(["paused", 500]);
  await feed.readOn();
  expect([feed.mode.value, feed.waiting.value]).toEqual(["following", 0]);
  expect(covered(feed.rows.value)).toHaveLength(1_500);
});

test("a feed that begins in the past reads from there, and goes on live at the end", async () => {
  const { feed } = begin({ at: "position", after: "e:4" });
  await vi.advanceTimersByTimeAsync(0);
  expect(texts(feed.rows.value)).toEqual(["e:10", "e:9", "e:8", "e:7", "e:6", "e:5"]);
  expect(feed.mode.value).toBe("following");
});

test("a log that cannot be read leaves the pause as it is, and says why", async () => {
  const { fake, feed } = begin();
  feed.pause();
  fake.publish(5);
  fake.failure = new Error("the link is lost");
  await feed.goOn();
  expect([feed.mode.value, feed.waiting.value]).toEqual(["paused", 5]);
  expect(feed.problem.value?.error).toBe(fake.failure);
  fake.failure = null;
  await feed.goOn();
  expect(feed.problem.value).toBeNull();
  expect(covered(feed.rows.value)).toEqual([15, 14, 13, 12, 11]);
});

test("a hold ends by itself, a pause does not", async () => {
  const { fake, feed } = begin();
  feed.hold(true);
  fake.publish(2);
  await tick();
  expect(feed.rows.value).toEqual([]);
  feed.hold(false);
  await vi.advanceTimersByTimeAsync(0);
  expect(covered(feed.rows.value)).toEqual([12, 11]);
  feed.pause();
  feed.hold(true);
  feed.hold(false);
  await tick();
  expect(feed.mode.value).toBe("paused");
});

test("at 10,000 events a second every event is drawn or named, and the rate is told", async () => {
  const { fake, feed } = begin();
  for (let count = 0; count < 12; count++) {
    fake.publish(2_500);
    await tick();
  }
  expect(feed.rows.value.filter((row) => row.kind === "event")).toHaveLength(600);
  expect(covered(feed.rows.value)).toEqual(Array.from({ length: 30_000 }, (_, index) => 30_010 - index));
  expect(feed.perSecond.value).toBe(10_000);
});

test("a stopped feed takes nothing", async () => {
  const { fake, feed } = begin();
  const [watch] = fake.watches;
  feed.stop();
  watch?.call(event(99));
  await tick();
  expect(feed.rows.value).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});

test("a page that nobody looks at gets no event, and reads what came when it is looked at", async () => {
  const { fake, feed } = begin();
  fake.publish(2);
  vi.advanceTimersByTime(250);
  feed.rest(true);
  expect(fake.watches).toEqual([]);
  fake.publish(3);
  vi.advanceTimersByTime(60_000);
  expect([texts(feed.rows.value), fake.requests]).toEqual([["e:12", "e:11"], []]);
  feed.rest(false);
  await vi.advanceTimersByTimeAsync(250);
  expect([texts(feed.rows.value), feed.mode.value]).toEqual([["e:15", "e:14", "e:13", "e:12", "e:11"], "following"]);
  fake.publish(1);
  vi.advanceTimersByTime(250);
  expect(texts(feed.rows.value)[0]).toBe("e:16");
  feed.stop();
});

test("more than can be read at a time is named, and a pause of the reader stays one", async () => {
  const { fake, feed } = begin();
  feed.rest(true);
  fake.publish(2_500);
  feed.rest(false);
  await vi.advanceTimersByTimeAsync(250);
  expect([texts(feed.rows.value)[0], feed.mode.value]).toEqual(["omitted e:1010-e:2510", "following"]);
  feed.pause();
  feed.rest(true);
  fake.publish(5);
  feed.rest(false);
  await vi.advanceTimersByTimeAsync(250);
  expect([feed.mode.value, feed.waiting.value]).toEqual(["paused", null]);
  feed.stop();
});

test("a rest in which nothing came leaves no row behind", async () => {
  const { feed } = begin();
  feed.hold(true);
  feed.rest(true);
  feed.rest(false);
  feed.hold(false);
  await vi.advanceTimersByTimeAsync(250);
  expect([texts(feed.rows.value), feed.mode.value]).toEqual([[], "following"]);
  feed.stop();
});
