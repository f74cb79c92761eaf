import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Row } from "../../src/format/row.ts";
import { commandsFor, shellQuote } from "../../src/pages/operation/commands.ts";
import { errorMarkdown, fenced, lastErrorOf } from "../../src/pages/operation/error-text.ts";

const HOSTILE = [
  "import prices",
  "'; rm -rf ~ #",
  "$(touch owned)",
  "`touch owned`",
  '"; touch owned; "',
  "a\\b",
  "it's",
  "!!",
  "-rf",
  "line\nend\ttab",
  "\x1b]0;title\x07",
  "%s %n \\",
  "héllo 😀",
  "*",
  "~",
  "\u202egnp",
];

describe("commands", () => {
  test("a shell reads every id as one argument with the same characters", () => {
    const folder = mkdtempSync(join(tmpdir(), "quote-"));
    for (const id of HOSTILE) {
      const command = `printf '%s.' ${shellQuote(id)}`;
      expect(execFileSync("/bin/sh", ["-c", command], { cwd: folder, encoding: "utf8" })).toBe(`${id}.`);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: a terminal would act on these
      expect(command).not.toMatch(/[\0-\x1f\x7f\u202e]/);
    }
    expect(readdirSync(folder)).toEqual([]);
  });

  test("the commands name the hub unless it is the default, and no credential", () => {
    const texts = (hub: string, live: boolean, identified: boolean) =>
      commandsFor("night/1", new URL(hub), live, identified).map(({ text }) => text);
    expect(texts("http://127.0.0.1:8765/", false, false)).toEqual([
      "tidings show night/1",
      "tidings logs night/1",
      "curl -sS http://127.0.0.1:8765/v1/operations/night%2F1",
    ]);
    expect(texts("https://ci.example.org/hub/", true, true)).toEqual([
      "tidings show --url wss://ci.example.org/hub/ws night/1",
      "tidings logs -f --url wss://ci.example.org/hub/ws night/1",
      "tidings cancel --url wss://ci.example.org/hub/ws night/1",
      'curl -sS -H "Authorization: Bearer $TIDINGS_TOKEN" https://ci.example.org/hub/v1/operations/night%2F1',
    ]);
    expect(commandsFor("..", new URL("http://127.0.0.1:8765/"), false, false)[2]?.text).toBe(
      "curl -sS --path-as-is http://127.0.0.1:8765/v1/operations/..",
    );
    expect(commandsFor("-x", new URL("http://127.0.0.1:8765/"), false, false)[0]?.text).toBe("tidings show -- '-x'");
  });
});

describe("the error as Markdown", () => {
  const operation: Row = {
    operation_id: "op-1",
    name: "Import prices",
    state: "failed",
    attempt: 1,
    trace_id: "t",
    heard_at: "2026-11-30T02:00:00Z",
    error: {
      code: "Upstream`Timeout",
      message: "<b>no</b> answer [x](javascript:1) @team",
      recoverable: true,
      hint: "Look.",
      details: "a\n````\n```\nb\x1b[31m",
    },
  };
  const text = errorMarkdown({
    operation,
    name: "Import prices",
    sentence: "Failed 12 min ago",
    href: "http://hub/operation?id=op-1",
    context: { lines: [{ at: 0, level: "error", text: "``` gone" }], index: 0 },
    time: () => "02:00:00",
  });

  test("it has the code, the hint, the line of the log and the details", () => {
    expect(text).toContain("**``Upstream`Timeout``**");
    expect(text).toContain("**What to do:** Look.");
    expect(text).toContain("````text\n02:00:00 error ``` gone\n````");
    expect(text).toContain("`````text\na\n````\n```\nb [31m\n`````");
  });

  test("no text of the operation becomes markup", () => {
    expect(text).toContain("\\<b\\>no\\</b\\> answer \\[x\\]\\(javascript:1\\) \\@team");
    expect(fenced("`".repeat(5_000)).split("\n")[0]).toHaveLength(5_001 + "text".length);
  });

  test("the last error line comes with its neighbours", () => {
    const lines = ["info", "error", "info", "info", "info", "info", "critical", "info", "info", "info"].map(
      (level, at) => ({ level, at, text: "" }),
    );
    expect(lastErrorOf(lines)).toEqual({ lines: lines.slice(3, 9), index: 3 });
    expect(lastErrorOf(lines.slice(0, 2))).toEqual({ lines: lines.slice(0, 2), index: 1 });
    expect(lastErrorOf([{ level: "warning", at: 0, text: "" }])).toBeUndefined();
  });
});
