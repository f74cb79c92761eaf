/** What an event says, in one line. Pure; everything in it came from a publisher and stays text. */

import { counted, formatRemaining, formatSpan, grouped, ordinal } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { asObject, type LoggedEvent } from "./filter.ts";

/** How loud an event is. */
export type Tone = "plain" | "warn" | "failed";

/** Characters of a line: more are not seen, and cost time. */
const MAX_CHARACTERS = 300;
/** Figures of `system:metrics` that are written. */
const MAX_FIGURES = 8;

type Data = Readonly<Record<string, unknown>>;

/** Return what an event says. */
export function describeEvent(event: Pick<LoggedEvent, "type" | "data">): string {
  const describe = DESCRIPTIONS.get(event.type);
  const said = describe === undefined ? "" : describe(asObject(event.data));
  // An operation's event that says nothing says all by its type and key.
  const isPlain = said === "" && !event.type.startsWith("operation:");
  return cut(plain(isPlain ? compact(event.data) : said));
}

/** Return how loud an event is. */
export function toneOf(event: Pick<LoggedEvent, "type" | "data">): Tone {
  const data = asObject(event.data);
  if (event.type === "operation:failed" || event.type === "data:error") return "failed";
  if (event.type === "operation:log") {
    const level = data["level"];
    return level === "error" || level === "critical" ? "failed" : level === "warning" ? "warn" : "plain";
  }
  if (event.type === "system:alert" && data["state"] !== "cleared") {
    return data["severity"] === "critical" ? "failed" : data["severity"] === "warning" ? "warn" : "plain";
  }
  if (event.type === "system:status" && data["status"] !== "healthy") return "warn";
  return event.type === "license:expired" ? "warn" : "plain";
}

const DESCRIPTIONS: ReadonlyMap<string, (data: Data) => string> = new Map(
  Object.entries({
    "operation:start": (data) => {
      const attempt = numberOf(data["attempt"]);
      return list(
        textOf(data["name"]),
        attempt !== null && attempt > 1 && `${ordinal(attempt)} attempt`,
        data["queued"] === true && "queued",
      );
    },
    "operation:progress": (data) => {
      const progress = numberOf(data["progress"]);
      const percent = data["indeterminate"] === true || progress === null ? "" : `${Math.floor(progress)}%`;
      return list(percent, textOf(data["current_step"]), textOf(data["message"]));
    },
    "operation:log": (data) => `${textOf(data["level"]) || "info"}: ${textOf(data["message"])}`,
    "operation:complete": (data) => {
      const took = numberOf(data["duration_ms"]);
      return list(textOf(data["message"]), took !== null && `took ${formatSpan(took / 1000)}`);
    },
    "operation:failed": describeError,
    "operation:cancelled": (data) => {
      const by = textOf(data["cancelled_by"]);
      const reason = textOf(data["reason"]);
      return by === "" ? reason : reason === "" ? `by ${by}` : `by ${by}: ${reason}`;
    },
    "operation:estimate": (data) => {
      const left = numberOf(data["remaining_s"]);
      const low = numberOf(data["remaining_low_s"]) ?? undefined;
      const high = numberOf(data["remaining_high_s"]) ?? undefined;
      return (
        list(
          data["stalled"] === true && "stalled",
          data["away_since"] !== undefined && "producer away",
          data["cancel_requested_at"] !== undefined && "asked to stop",
          left !== null && formatRemaining(left, low, high),
        ) || "no estimate"
      );
    },
    "data:update": describeData,
    "data:processed": describeData,
    "data:error": describeError,
    "report:ready": (data) => {
      const size = numberOf(data["size_bytes"]);
      return list(textOf(data["name"]), size !== null && formatBytes(size), textOf(data["format"]));
    },
    "system:status": (data) => {
      const operations = numberOf(data["active_operations"]);
      return list(textOf(data["status"]), operations !== null && counted(operations, "active operation"));
    },
    "system:metrics": (data) => {
      const metrics = typeof data["metrics"] === "object" ? (data["metrics"] as Data | null) : null;
      const figures = Object.entries(metrics ?? {}).slice(0, MAX_FIGURES);
      return list(
        ...figures.map(([name, value]) => {
          const figure = numberOf(value);
          return figure !== null && `${name} ${Number(figure.toPrecision(3))}`;
        }),
      );
    },
    "system:alert": (data) => `${data["state"] === "cleared" ? "cleared" : "raised"}: ${textOf(data["message"])}`,
    "license:expired": (data) => textOf(data["message"]),
  }),
);

function describeError(data: Data): string {
  const code = textOf(data["code"]);
  const message = textOf(data["message"]);
  return code === "" ? message : `${code}: ${message}`;
}

function describeData(data: Data): string {
  const records = numberOf(data["records"]);
  const took = numberOf(data["duration_ms"]);
  const version = data["version"];
  return list(
    records !== null && counted(records, "record"),
    took !== null && `took ${formatSpan(took / 1000)}`,
    (typeof version === "string" || typeof version === "number") && `version ${version}`,
  );
}

function list(...parts: readonly (string | false)[]): string {
  return parts.filter((part) => part !== false && part !== "").join(", ");
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function numberOf(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function cut(text: string): string {
  return text.length <= MAX_CHARACTERS ? text : `${text.slice(0, MAX_CHARACTERS)}…`;
}

/** Write a JSON value in one short line, such as `{"dataset":"prices","rows":[1,2,…]}`, without writing all of it. */
function compact(value: unknown): string {
  const parts: string[] = [];
  let length = 0;
  const write = (text: string): boolean => {
    parts.push(text);
    length += text.length;
    return length <= MAX_CHARACTERS;
  };
  const visit = (each: unknown): boolean => {
    if (typeof each === "string") return write(JSON.stringify(each.slice(0, MAX_CHARACTERS)));
    if (typeof each !== "object" || each === null) return write(String(each));
    const isList = Array.isArray(each);
    const entries: readonly (readonly [string, unknown])[] = Object.entries(each);
    write(isList ? "[" : "{");
    for (const [index, [name, member]] of entries.entries()) {
      if (!write(index === 0 ? "" : ",")) return false;
      if (!isList && !write(`${JSON.stringify(name)}:`)) return false;
      if (!visit(member)) return false;
    }
    return write(isList ? "]" : "}");
  };
  if (value === null || value === undefined) return "";
  visit(value);
  return parts.join("");
}

const SIZES = [
  ["GB", 1e9],
  ["MB", 1e6],
  ["KB", 1e3],
] as const;

/** Return a size for people: `412 KB`, `3.1 GB`. */
export function formatBytes(bytes: number): string {
  for (const [unit, size] of SIZES) {
    if (bytes >= size * 0.9995) {
      const value = bytes / size;
      return `${value < 9.95 ? value.toFixed(1).replace(/\.0$/u, "") : grouped(Math.round(value))} ${unit}`;
    }
  }
  return counted(Math.round(bytes), "byte");
}
