/** The error of an operation as Markdown, for an issue or a chat, and the log lines around it. */

import type { Row } from "../../format/row.ts";

/** A line of the log in a copied text. */
export interface ContextLine {
  readonly at: number;
  readonly level: string;
  readonly text: string;
}

/** Lines shown before the last error line, and after it. */
const LINES_BEFORE = 3;
const LINES_AFTER = 2;

/** The last line of level error or critical, with its neighbours. */
export interface ErrorContext<Line extends ContextLine> {
  readonly lines: readonly Line[];
  /** Index of the error line in `lines`. */
  readonly index: number;
}

/** The last error line of a log with its context; undefined if no line is an error. */
export function lastErrorOf<Line extends ContextLine>(lines: readonly Line[]): ErrorContext<Line> | undefined {
  for (let at = lines.length - 1; at >= 0; at--) {
    const level = lines[at]?.level;
    if (level !== "error" && level !== "critical") continue;
    const first = Math.max(0, at - LINES_BEFORE);
    return { lines: lines.slice(first, at + 1 + LINES_AFTER), index: at - first };
  }
  return undefined;
}

/** What a copied error consists of. */
export interface CopiedError {
  readonly operation: Row;
  readonly name: string;
  /** The sentence about the operation. */
  readonly sentence: string;
  /** Address of the page. */
  readonly href: string;
  readonly context: ErrorContext<ContextLine> | undefined;
  /** Writes a time as on the page, with its zone. */
  readonly time: (at: number) => string;
}

/** The error as Markdown. Text of the operation can neither end its block nor become markup. */
export function errorMarkdown({ operation, name, sentence, href, context, time }: CopiedError): string {
  const error = operation.error;
  const parts = [`### ${escapeMarkdown(name)}`, `${escapeMarkdown(sentence)}  \n<${href}>`];
  if (error) {
    parts.push(`**${codeSpan(error.code)}** ${escapeMarkdown(error.message)}`);
    if (error.hint) parts.push(`**What to do:** ${escapeMarkdown(error.hint)}`);
  }
  if (context !== undefined) {
    const lines = context.lines.map((line) => `${time(line.at)} ${line.level} ${line.text}`);
    parts.push(`Last error in the log:\n\n${fenced(lines.join("\n"))}`);
  }
  if (error?.details) parts.push(`Details:\n\n${fenced(error.details)}`);
  return `${parts.join("\n\n")}\n`;
}

/** Text as a block of code, with a fence longer than any in it. */
export function fenced(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((match) => match[0].length));
  const fence = "`".repeat(longest + 1);
  return `${fence}text\n${visible(text)}\n${fence}`;
}

function codeSpan(text: string): string {
  const longest = Math.max(0, ...[...text.matchAll(/`+/g)].map((match) => match[0].length));
  const ticks = "`".repeat(longest + 1);
  const space = text.startsWith("`") || text.endsWith("`") ? " " : "";
  return `${ticks}${space}${oneLine(text)}${space}${ticks}`;
}

function escapeMarkdown(text: string): string {
  // `@` and `#` would mention people and issues where this is pasted.
  return oneLine(text).replace(/[\\`*_{}[\]<>()#+!|~@&-]/g, "\\$&");
}

function oneLine(text: string): string {
  return visible(text).replace(/\s+/g, " ").trim();
}

/** Without characters that would act on a terminal or reverse what follows. */
function visible(text: string): string {
  return text.replace(/\r\n?/g, "\n").replace(/(?![\n\t])[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, " ");
}
