/**
 * A JSON value as lines of text with what each part is, so that a page can give them colours without making markup from
 * them. Pure. Long strings and long values are cut, and say so.
 */

/** A part of a line. */
export interface Token {
  /** `mark` is punctuation, `name` the name of a member, `note` words of ours about what was cut. */
  readonly kind: "mark" | "name" | "value" | "note";
  readonly text: string;
}

/** One line: its depth, and its parts. */
export interface JsonLine {
  readonly depth: number;
  readonly tokens: readonly Token[];
}

/** Lines at first; the rest is shown when asked for. */
export const MAX_LINES = 400;
/** Characters of one string at first. */
export const MAX_STRING = 2_000;

/** Lines of a value, and how many more there are. */
export interface JsonText {
  readonly lines: readonly JsonLine[];
  /** True: lines or characters were left out. */
  readonly cut: boolean;
}

/** Lay out a value. */
export function layOutJson(value: unknown, maxLines = MAX_LINES, maxString = MAX_STRING): JsonText {
  const writer = new Writer(maxLines, maxString);
  writer.write(value, [], 0, "");
  return { lines: writer.lines, cut: writer.cut };
}

class Writer {
  readonly lines: JsonLine[] = [];
  cut = false;
  readonly #maxLines: number;
  readonly #maxString: number;

  constructor(maxLines: number, maxString: number) {
    this.#maxLines = maxLines;
    this.#maxString = maxString;
  }

  /**
   * @param value - The value.
   * @param head - Parts before it in its line, such as the name of the member.
   * @param depth - Depth of the line.
   * @param tail - Punctuation behind it.
   */
  write(value: unknown, head: readonly Token[], depth: number, tail: string): void {
    if (this.lines.length >= this.#maxLines) {
      this.cut = true;
      return;
    }
    if (typeof value !== "object" || value === null) {
      this.#line(depth, [...head, ...this.#scalar(value), mark(tail)]);
      return;
    }
    const isList = Array.isArray(value);
    const entries: readonly (readonly [string, unknown])[] = Object.entries(value);
    const [open, close] = isList ? ["[", "]"] : ["{", "}"];
    if (entries.length === 0) {
      this.#line(depth, [...head, mark(open + close + tail)]);
      return;
    }
    this.#line(depth, [...head, mark(open)]);
    for (const [index, [name, member]] of entries.entries()) {
      if (this.lines.length >= this.#maxLines) {
        this.cut = true;
        return;
      }
      const label: Token[] = isList ? [] : [{ kind: "name", text: visible(JSON.stringify(name)) }, mark(": ")];
      this.write(member, label, depth + 1, index < entries.length - 1 ? "," : "");
    }
    this.#line(depth, [mark(close + tail)]);
  }

  #scalar(value: unknown): Token[] {
    if (typeof value !== "string") return [{ kind: "value", text: String(value) }];
    if (value.length <= this.#maxString) return [{ kind: "value", text: visible(JSON.stringify(value)) }];
    this.cut = true;
    const more = value.length - this.#maxString;
    return [
      { kind: "value", text: visible(JSON.stringify(value.slice(0, this.#maxString))) },
      { kind: "note", text: ` and ${more.toLocaleString("en-US")} more characters` },
    ];
  }

  #line(depth: number, tokens: readonly Token[]): void {
    this.lines.push({ depth, tokens: tokens.filter((token) => token.text !== "") });
  }
}

function mark(text: string): Token {
  return { kind: "mark", text };
}

/** Control characters, and those that reorder or hide what stands around them (Unicode UAX 9); a line may end. */
const INVISIBLE = /(?!\n)\p{Cc}|[\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff]/gu;

/** Write characters that would hide or reorder others as JSON escapes: the text stays the same JSON. */
export function visible(json: string): string {
  return json.replace(INVISIBLE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The whole value as JSON text, indented by two spaces. */
export function fullJson(value: unknown): string {
  return visible(JSON.stringify(value, null, 2) ?? "null");
}
