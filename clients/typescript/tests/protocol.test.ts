/** The client keeps to the documents of the protocol: their transcripts, tables and vectors. */
import { describe, expect, test } from "vitest";
import { CredentialError, makeHubError } from "../src/errors.ts";
import type { WatchItem } from "../src/items.ts";
import { mayReconnect, parseMessage } from "../src/messages.ts";
import { eventKey } from "../src/paths.ts";
import { type Frame, readDocument, readTable, readTranscripts, type Step, type Transcript } from "./documents.ts";
import { FakeWorld } from "./fakes.ts";

/** One client of a transcript whose part the client of this package can play, and the transcript. */
interface Part {
  readonly name: string;
  readonly client: string;
  readonly steps: readonly Step[];
}

/** Return the parts of clients that subscribe once on each connection, and do nothing else but publish. */
function playable({ name, steps }: Transcript): Part[] {
  const clients = new Set(steps.map(({ client }) => client));
  return [...clients].flatMap((client) => {
    const own = steps.filter((step) => step.client === client);
    const connections = own.filter(({ kind }) => kind === "connects").length;
    const plain = own.some((step) => step.kind === "connects" && (!step.typed || step.target !== "/ws"));
    const commands = own.flatMap((step) => (step.kind === "sends" ? [step.frame] : []));
    const subscribes = commands.filter(({ type }) => type === "channel:subscribe");
    const others = commands.filter(({ type }) => /^(channel|connection|auth|producer|operation:cancel)/.test(type));
    const fits = !plain && subscribes.length === connections && others.length === subscribes.length;
    return fits && subscribes.every(({ data }) => !("handles" in data))
      ? [{ name: `${name}, ${client}`, client, steps: own }]
      : [];
  });
}

const PARTS = readTranscripts().flatMap(playable);

test("the documents hold transcripts that the client can play", () => {
  expect(PARTS.length).toBeGreaterThanOrEqual(5);
  const names = PARTS.map(({ name }) => name).join();
  for (const heading of ["Resuming after a drop", "Trimmed while away", "Subscribing while events flow"]) {
    expect(names).toContain(heading);
  }
});

test.each(PARTS)("$name: the client sends what the transcript shows, and yields its events", async ({ steps }) => {
  const world = new FakeWorld();
  const hub = world.connect();
  const items: WatchItem[] = [];
  const shown: Frame[] = [];
  let watching = false;
  for (const [index, step] of steps.entries()) {
    if (step.kind === "connects" && !watching) {
      const next = steps
        .slice(index)
        .find((other) => other.kind === "sends" && other.frame.type === "channel:subscribe");
      const { channels, since } = (next as { frame: Frame }).frame.data as { channels: string[]; since?: string };
      hub.watch(channels, (item) => items.push(item), since === undefined ? {} : { since });
      watching = true;
    }
    if (step.kind === "connects") {
      await world.pass(20_000);
      for (let wait = 0; world.live === 0 && wait < 60; wait += 1) await world.pass(1_000);
      world.socket.open();
      world.socket.greet("none", "…p0");
      await world.settle();
    } else if (step.kind === "drops") world.socket.end();
    else if (step.kind === "sends" && step.frame.type === "channel:subscribe") {
      const { channels, since = "snapshot" } = step.frame.data as { channels: string[]; since?: string };
      const sent = world.socket.sentOf("channel:subscribe");
      expect(sent).toHaveLength(1);
      expect(sent[0]?.data).toEqual({ channels, since });
    } else if (step.kind === "receives" && !answersPublishing(step.frame)) {
      const [command] = world.socket.sentOf("channel:subscribe");
      const { reply_to, ...frame } = step.frame;
      world.socket.receive(reply_to === undefined ? frame : { ...frame, reply_to: command?.id });
      if (frame.channel !== undefined || frame.type.startsWith("channel:")) shown.push(frame);
    }
  }
  expect(items.map(({ type }) => type)).toEqual(shown.map(({ type }) => type));
  const positions = (each: readonly object[]) => each.flatMap((item) => ("position" in item ? [item.position] : []));
  expect(positions(items)).toEqual(positions(shown));
  hub.close();
});

/** The client publishes over HTTP: answers to events do not come over its socket. */
function answersPublishing({ type }: Frame): boolean {
  return type === "event:accepted" || type === "connection:error";
}

test("every message of a hub in the documents is handled, and every event of the log is yielded", async () => {
  for (const { name, steps } of readTranscripts()) {
    const world = new FakeWorld();
    const hub = world.connect();
    const items: WatchItem[] = [];
    hub.watch("*", (item) => items.push(item), { since: "now" });
    await world.settle();
    world.socket.open();
    world.socket.greet();
    await world.settle();
    world.socket.goLive("p:0", "live");
    const frames = steps.flatMap((step) => (step.kind === "receives" ? [step.frame] : []));
    for (const frame of frames)
      if (!/^connection:(closed|established)|^auth:/.test(frame.type)) world.socket.receive({ ...frame });
    const logged = frames.filter(({ channel, position }) => channel !== undefined && position !== undefined);
    expect([name, items.filter((item) => "position" in item).length]).toEqual([name, logged.length]);
    expect(hub.connection.getSnapshot().state).toBe("live");
    hub.close();
  }
});

describe("tables", () => {
  test("the client reconnects after the close codes for which a client should", () => {
    const rows = readTable("docs/protocol/codes.md", "Close codes");
    expect(rows.length).toBeGreaterThan(10);
    for (const [code, , reconnect] of rows)
      expect([code, mayReconnect(Number(code))]).toEqual([code, reconnect === "yes"]);
  });

  test("errors of access that a sign-in can cure are credential errors", () => {
    const rows = readTable("docs/protocol/codes.md", "Access");
    expect(rows.length).toBeGreaterThan(10);
    for (const [code = "", status] of rows) {
      const data = { code: code.replaceAll("`", ""), message: "", recoverable: false };
      const error = makeHubError(data, Number(status));
      if (status === "401") expect([code, error instanceof CredentialError]).toEqual([code, true]);
    }
  });

  test("errors of other sections are none of access", () => {
    for (const section of ["Messages", "Operations", "HTTP requests", "The log", "The hub"]) {
      for (const [code = ""] of readTable("docs/protocol/codes.md", section)) {
        const error = makeHubError({ code: code.replaceAll("`", ""), message: "", recoverable: false });
        expect([code, error instanceof CredentialError]).toEqual([code, false]);
      }
    }
  });

  test("the key of each type is that of the catalogue", () => {
    const rows = readTable("docs/protocol/events.md", "Catalogue");
    expect(rows.length).toBeGreaterThan(15);
    for (const [type = "", channel, key = ""] of rows) {
      if (channel === "–") continue;
      const data = { operation_id: "a", dataset: "a", report_id: "a", alert_id: "a", source: "a" };
      const only = { [key]: "the key" };
      const name = type.replaceAll("`", "");
      expect([name, eventKey(name, { ...data, ...only })]).toEqual([name, key === "–" ? undefined : "the key"]);
    }
  });
});

test("envelopes of Go's encoding/json are read as the vectors specify", () => {
  const vectors = JSON.parse(readDocument("tests/contract/vectors/go-encoding-json.json")) as {
    wire: string;
    type?: string;
    reads?: string;
    key?: string | null;
  }[];
  expect(vectors.length).toBeGreaterThan(10);
  for (const { key, wire } of vectors) {
    const message = parseMessage(wire);
    expect(message).toEqual(JSON.parse(wire));
    if (key !== undefined && message !== undefined) expect(eventKey(message.type, message.data) ?? null).toBe(key);
  }
});
