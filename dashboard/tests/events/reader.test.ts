import { expect, test } from "vitest";
import { EVERYTHING, type LoggedEvent } from "../../src/pages/events/filter.ts";
import { type HistoryAnswer, historyPath, readEvents } from "../../src/pages/events/reader.ts";

const SIGNAL = new AbortController().signal;

/** A hub with events `e:1` up to `e:head`, that looks at 500 events for each request. */
function hubWith(head: number, trimmed = 0) {
  const paths: string[] = [];
  const request = async (path: string): Promise<HistoryAnswer> => {
    paths.push(path);
    const query = new URLSearchParams(path.split("?")[1]);
    const since = query.get("since") ?? "";
    const asked = since === "first" ? 0 : Number(since.split(":")[1]);
    const from = Math.max(asked, trimmed);
    const until = Math.min(head, from + Math.min(500, Number(query.get("limit"))));
    const events: LoggedEvent[] = [];
    for (let n = from + 1; n <= until; n++) {
      const data = { text: n % 100 === 0 ? "rare" : "common" };
      events.push({
        type: "a:b",
        timestamp: "2026-11-29T02:00:00Z",
        trace_id: "t",
        channel: "data",
        position: `e:${n}`,
        data,
      });
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
  expect(historyPath(filter, "e:1", 10)).toBe(
    "v1/events?channel=operations&type=operation%3Alog&key=a%2Fb+c&trace_id=9c&since=e%3A1&limit=10",
  );
  expect(historyPath({ ...filter, type: "operation:*", key: "a*" }, "first", 1)).not.toMatch(/type|key=/);
});
