import { expect, test } from "vitest";
import { EVERYTHING, type LoggedEvent } from "../../src/pages/events/filter.ts";
import {
  type EarlierReading,
  type HistoryAnswer,
  historyPath,
  readEarlier,
  readEvent,
  readEvents,
} from "../../src/pages/events/reader.ts";

const SIGNAL = new AbortController().signal;

function numbered(n: number): LoggedEvent {
  const data = { text: n % 100 === 0 ? "rare" : "common" };
  return { type: "a:b", timestamp: "2026-11-29T02:00:00Z", trace_id: "t", channel: "data", position: `e:${n}`, data };
}

/** A hub with events `e:1` up to `e:head`, that looks at 500 events for each request. */
function hubWith(head: number, trimmed = 0) {
  const paths: string[] = [];
  const request = async (path: string): Promise<HistoryAnswer> => {
    paths.push(path);
    const query = new URLSearchParams(path.split("?")[1]);
    const since = query.get("since") ?? "";
    const last = query.get("last");
    if (last !== null) {
      const end = Number(query.get("until")?.split(":")[1]);
      const begin = Math.max(trimmed, end - Math.min(500, Number(last)));
      const events = Array.from({ length: end - begin }, (_, index) => numbered(begin + 1 + index));
      const gap = { reason: "trimmed", after: "e:0", until: `e:${trimmed}` };
      const rest = begin > trimmed ? { earlier: `e:${begin}` } : trimmed > 0 ? { gap } : {};
      return { events, next: `e:${end}`, position: `e:${head}`, ...rest };
    }
    const asked = since === "first" ? 0 : Number(since.split(":")[1]);
    const from = Math.max(asked, trimmed);
    const until = Math.min(head, from + Math.min(500, Number(query.get("limit"))));
    const events: LoggedEvent[] = [];
    for (let n = from + 1; n <= until; n++) {
      events.push(numbered(n));
    }
    const gap = { reason: "trimmed", after: `e:${asked}`, until: `e:${trimmed}` };
    return { events, next: `e:${until}`, position: `e:${head}`, ...(asked < trimmed ? { gap } : {}) };
  };
  return { request, paths };
}

const range = (after: string, until: string | null = null) => ({ after, until });

test("reading goes on until the head of the log", async () => {
  const hub = hubWith(1_200);
  const reading = await readEvents(hub.request, EVERYTHING, range("first"), 5_000, SIGNAL);
  expect(reading.events).toHaveLength(1_200);
  expect([reading.done, reading.next]).toEqual([true, "e:1200"]);
});

test("reading stops at the wanted number, exactly behind its last event", async () => {
  const hub = hubWith(1_200);
  const first = await readEvents(hub.request, EVERYTHING, range("e:0"), 700, SIGNAL);
  const second = await readEvents(hub.request, EVERYTHING, range(first.next), 700, SIGNAL);
  expect([first.done, second.done]).toEqual([false, true]);
  const positions = [...first.events, ...second.events].map((event) => event.position);
  expect(positions).toEqual(Array.from({ length: 1_200 }, (_, index) => `e:${index + 1}`));
});

test("text is searched here, and no match is lost between two readings", async () => {
  const hub = hubWith(3_000);
  const filter = { ...EVERYTHING, text: "rare" };
  const first = await readEvents(hub.request, filter, range("e:0"), 7, SIGNAL);
  const second = await readEvents(hub.request, filter, range(first.next), 100, SIGNAL);
  expect(first.events.map((event) => event.position).at(-1)).toBe("e:700");
  expect(second.events[0]?.position).toBe("e:800");
  expect(first.events.length + second.events.length).toBe(30);
});

test("a search of a log without end stops, and says where to go on", async () => {
  const hub = hubWith(1_000_000);
  const reading = await readEvents(hub.request, { ...EVERYTHING, text: "nowhere" }, range("e:0"), 7, SIGNAL);
  expect(reading).toMatchObject({ events: [], done: false, next: "e:10000" });
  expect(hub.paths).toHaveLength(20);
});

test("a range ends with its last event", async () => {
  const reading = await readEvents(hubWith(900).request, EVERYTHING, range("e:10", "e:20"), 100, SIGNAL);
  expect(reading.events.map((event) => event.position)).toEqual(
    Array.from({ length: 10 }, (_, index) => `e:${index + 11}`),
  );
  expect(reading.done).toBe(true);
});

test("a range whose last event is gone ends before what comes after it", async () => {
  const beyond = new Set(["e:15", "e:16"]);
  const reading = await readEvents(
    hubWith(900).request,
    EVERYTHING,
    { ...range("e:10", "e:14.5"), beyond },
    100,
    SIGNAL,
  );
  expect(reading.events.map((event) => event.position)).toEqual(["e:11", "e:12", "e:13", "e:14"]);
  expect(reading.done).toBe(true);
});

test("what the hub no longer has is reported", async () => {
  const reading = await readEvents(hubWith(900, 300).request, EVERYTHING, range("e:0"), 100, SIGNAL);
  expect(reading.gap).toEqual({ reason: "trimmed", after: "e:0", until: "e:300" });
  expect(reading.events[0]?.position).toBe("e:301");
});

test("the hub chooses what it can", () => {
  const filter = { channel: "operations", type: "operation:log", key: "a/b c", trace: "9c", text: "x" };
  expect(historyPath(filter, { since: "e:1", limit: 10 })).toBe(
    "v1/events?channel=operations&type=operation%3Alog&key=a%2Fb+c&trace_id=9c&since=e%3A1&limit=10",
  );
  expect(historyPath({ ...filter, type: "operation:*", key: "a*" }, { since: "first", limit: 1 })).not.toMatch(
    /type|key=/,
  );
});

test("reading backwards finds each match once, down to the beginning", async () => {
  const hub = hubWith(3_000, 250);
  const filter = { ...EVERYTHING, text: "rare" };
  const found: string[] = [];
  let until: string | null = "e:3000";
  let gap: HistoryAnswer["gap"];
  while (until !== null) {
    const reading: EarlierReading = await readEarlier(hub.request, filter, { after: "first", until }, 7, SIGNAL);
    expect(reading.events.length).toBeLessThanOrEqual(7);
    found.unshift(...reading.events.map((event) => event.position));
    until = reading.earlier;
    gap = reading.gap;
  }
  expect(found).toEqual(Array.from({ length: 28 }, (_, index) => `e:${(index + 3) * 100}`));
  expect(gap?.until).toBe("e:250");
});

test("one event is read by its position, and one that is gone is none", async () => {
  const hub = hubWith(1_200, 700);
  const request = (path: string) => hub.request(path);
  expect((await readEvent(request, "e:900"))?.position).toBe("e:900");
  expect(await readEvent(request, "e:700")).toBeNull();
});
