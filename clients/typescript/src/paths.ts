/** Paths and keys of events (PROTOCOL.md, "Channels, keys and paths"). */

/** Key fields of event types, by type; null for a type without a key. */
export type KeyFields = ReadonlyMap<string, string | null>;

/** Those of a hub that has no types of its own. */
export const NO_KEY_FIELDS: KeyFields = new Map();
/** Hash of the contract that has no types of an application: its key fields are known. */
export const BUILT_IN_CONTRACT = "sha256:d27ece87a3309bd76d053464d00ab29b";

/** Key fields of the types that every hub serves: those of a domain, unless the type is listed itself. */
const BUILT_IN: Readonly<Record<string, string>> = {
  operation: "operation_id",
  data: "dataset",
  "report:ready": "report_id",
  "system:alert": "alert_id",
  "system:status": "source",
  "system:metrics": "source",
};

/**
 * Return the key of an event; undefined if it has none.
 *
 * @param fields - Key fields of the hub's own types, from its contract.
 */
export function eventKey(type: string, data: unknown, fields?: KeyFields): string | undefined {
  const field = fields?.has(type) ? fields.get(type) : (BUILT_IN[type] ?? BUILT_IN[type.slice(0, type.indexOf(":"))]);
  if (!field) return undefined;
  const { code, operation_id, [field]: key } = (data ?? {}) as Readonly<Record<string, unknown>>;
  if (type === "system:alert" && !key) return operation_id ? `${code}:${operation_id}` : String(code);
  return typeof key === "string" && key !== "" ? key : undefined;
}

/** Return whether every event on `other` is also on `path`. */
export function covers(path: string, other: string): boolean {
  if (path === other || path === "*") return true;
  const slash = path.indexOf("/");
  if (slash < 0) return other.startsWith(`${path}/`);
  return path.endsWith("*") && other.startsWith(path.slice(0, -1));
}

/**
 * Return a function that tells whether an event is on one of `paths`; events of `global` are on all of them. Its `place`
 * is the channel, a slash and the key; for an event without a key the channel alone.
 */
export function makeMatcher(paths: readonly string[]): (channel: string, place: string) => boolean {
  const channels = new Set(["global"]);
  const exact = new Set<string>();
  const prefixes: string[] = [];
  for (const path of paths) {
    if (path === "*") return () => true;
    if (!path.includes("/")) channels.add(path);
    else if (path.endsWith("*")) prefixes.push(path.slice(0, -1));
    else exact.add(path);
  }
  return (channel, place) =>
    channels.has(channel) || exact.has(place) || prefixes.some((prefix) => place.startsWith(prefix));
}

/** Return `paths` in their shortest form, without those that another one covers. */
export function simplify(paths: Iterable<string>): string[] {
  const all = [...new Set([...paths].map((path) => path.replace(/\/\*$/, "")))];
  return all.filter((path) => !all.some((other) => other !== path && covers(other, path)));
}
