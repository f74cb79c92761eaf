/** The protocol's documents: the same transcripts, tables and vectors that the hub's own tests read. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

export function readDocument(path: string): string {
  return readFileSync(ROOT + path, "utf8");
}

export interface Transcript {
  readonly name: string;
  readonly steps: readonly Step[];
}

/** One line of a transcript. */
export type Step =
  | { readonly kind: "connects"; readonly client: string; readonly target: string; readonly typed: boolean }
  | { readonly kind: "drops"; readonly client: string }
  | { readonly kind: "sends" | "receives"; readonly client: string; readonly frame: Frame };

export interface Frame {
  readonly type: string;
  readonly id?: string;
  readonly reply_to?: string;
  readonly channel?: string;
  readonly position?: string;
  readonly data: Record<string, unknown>;
}

/** Return all transcripts of the documents. Lines about the hub itself are left out: the test is the hub. */
export function readTranscripts(): Transcript[] {
  const reference = readdirSync(`${ROOT}docs/protocol`).filter((name) => name.endsWith(".md"));
  return ["PROTOCOL.md", ...reference.map((name) => `docs/protocol/${name}`)].flatMap((path) => {
    const found: Transcript[] = [];
    let heading = "";
    for (const part of readDocument(path).matchAll(/^#+ (.+)$|^```transcript\n([\s\S]*?)^```/gm)) {
      heading = part[1] ?? heading;
      if (part[2] !== undefined) found.push({ name: `${path}: ${heading}`, steps: parseSteps(part[2]) });
    }
    return found;
  });
}

function parseSteps(text: string): Step[] {
  const lines = text
    .replace(/^#.*\n/gm, "")
    .replace(/\n[ \t]+/g, "")
    .trim()
    .split("\n");
  return lines.flatMap((line): Step[] => {
    const frame = /^([A-Z])([<>])~? (?:[\d–]+ × )?(\{.*\})$/.exec(line);
    if (frame !== null) {
      const [, client = "", way, body = ""] = frame;
      const whole = body.replace(/([,{])\s*…\s*(?=[,}])/g, '$1"timestamp":"2026-01-01T00:00:00Z","trace_id":"t"');
      return [{ kind: way === ">" ? "sends" : "receives", client, frame: JSON.parse(whole) }];
    }
    const connects = /^([A-Z]) connects to (\S+)( with tidings\.v1)?$/.exec(line);
    if (connects !== null) {
      const [, client = "", target = "", typed] = connects;
      return [{ kind: "connects", client, target, typed: typed !== undefined }];
    }
    const drops = /^([A-Z]) drops$/.exec(line);
    return drops === null ? [] : [{ kind: "drops", client: drops[1] ?? "" }];
  });
}

/** Return the rows of the table below a heading of a document. */
export function readTable(path: string, heading: string): string[][] {
  const [, below = ""] = readDocument(path).split(new RegExp(`^#+ ${heading}$`, "m"));
  const lines = (below.split(/^#/m, 1)[0] ?? "").split("\n").filter((line) => line.startsWith("|"));
  const cells = (line: string): string[] =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
  return lines.slice(2).map(cells);
}
