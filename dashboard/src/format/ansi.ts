/**
 * Text of a terminal as text with styles: what a person would see on the screen, without what moves the screen.
 *
 * Colours and a few attributes (SGR) are kept. `\r`, `\b` and the erasing of a line act on the line, as in a terminal.
 * All other escapes are removed. The cost is linear in the length of the text, whatever it holds.
 */

/** A colour: 0–15 is the palette of the terminal; from `RGB` on, `RGB + 0xRRGGBB`. */
export type AnsiColour = number;

/** First number of a colour that is given by its components. */
export const RGB = 0x1000000;

/** How a stretch of text looks. Absent colours are those of the page. */
export interface AnsiStyle {
  readonly foreground?: AnsiColour;
  readonly background?: AnsiColour;
  readonly bold?: true;
  readonly dim?: true;
  readonly italic?: true;
  readonly underline?: true;
  readonly strike?: true;
  readonly inverse?: true;
}

/** A stretch of text with a style: UTF-16 offsets from `start`, up to `end`. */
export interface AnsiSpan {
  readonly start: number;
  readonly end: number;
  readonly style: AnsiStyle;
}

/** What is left of a text; text outside the spans is plain. */
export interface AnsiText {
  readonly text: string;
  readonly spans: readonly AnsiSpan[];
}

// Control characters, and those that reverse the direction of what follows. Tabs and line ends are text.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const SPECIAL = /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u202a-\u202e\u2066-\u2069\ufeff]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: an escape begins with one
const CSI = /(?:\x1b\[|\x9b)([0-?]*)([ -/]*)([@-~]?)/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: a string of a terminal ends with one
const STRING_END = /\x07|\x1b\\|\x9c/g;
const EXTENDS_CHARACTER = /^(?:\p{M}|\u200d|\ufe0e|\ufe0f)$/u;
const FIRST_MARK = 0x300;
const NONE: AnsiStyle = {};
const NO_SPANS: readonly AnsiSpan[] = [];

/** Return the visible text of `source` and its styles. */
export function parseAnsi(source: string): AnsiText {
  if (!SPECIAL.test(source)) return { text: source, spans: NO_SPANS };
  const screen = new Screen();
  let style = NONE;
  let index = 0;
  const lastString = lastStringEnd(source);
  while (index < source.length) {
    const code = source.codePointAt(index) ?? 0;
    const length = code > 0xffff ? 2 : 1;
    if (code === 0x1b || (code >= 0x80 && code <= 0x9f)) {
      const skipped = readEscape(source, index, lastString);
      index = skipped.end;
      if (skipped.final === "m") style = applySgr(style, skipped.parameters);
      else if (skipped.final === "K") screen.eraseLine(skipped.parameters);
      continue;
    }
    index += length;
    if (code === 0x0a) screen.newLine();
    else if (code === 0x0d) screen.column = 0;
    else if (code === 0x08) screen.column = Math.max(0, screen.column - 1);
    else if (code === 0x09 || (code >= 0x20 && code !== 0x7f)) {
      const character = source.slice(index - length, index);
      if (length === 1 && SPECIAL.test(character)) screen.write(" ", style);
      else if (code >= FIRST_MARK && EXTENDS_CHARACTER.test(character)) screen.extend(character, style);
      else screen.write(character, style);
    }
  }
  return screen.result();
}

/** The rows of a message. A cell counts if it was written since its row was last cleared. */
class Screen {
  column = 0;
  #characters: string[] = [];
  #styles: AnsiStyle[] = [];
  #written: number[] = [];
  #generation = 1;
  #end = 0;
  #blank = 0;
  #text = "";
  readonly #rows: string[] = [];
  readonly #spans: { start: number; end: number; style: AnsiStyle }[] = [];
  #offset = 0;

  write(character: string, style: AnsiStyle): void {
    const at = this.column++;
    this.#characters[at] = character;
    this.#styles[at] = style;
    this.#written[at] = this.#generation;
    if (at < this.#blank) this.#blank = at;
    if (at >= this.#end) this.#end = at + 1;
  }

  /** Add a combining character to the cell before the cursor. */
  extend(character: string, style: AnsiStyle): void {
    const at = this.column - 1;
    if (at < 0 || at >= this.#end || this.#written[at] !== this.#generation) this.write(character, style);
    else this.#characters[at] += character;
  }

  eraseLine(parameters: string): void {
    if (parameters === "1") {
      const until = Math.min(this.column + 1, this.#end);
      for (let at = this.#blank; at < until; at++) this.#written[at] = 0;
      this.#blank = Math.max(this.#blank, until); // cells known to be blank are not blanked again: linear cost
    } else if (parameters === "2") {
      this.#generation++;
      this.#end = this.#blank = 0;
    } else {
      this.#end = Math.min(this.#end, this.column);
    }
  }

  newLine(): void {
    this.#flush();
    this.#rows.push(this.#text);
    this.#offset += this.#text.length + 1;
    this.column = this.#end = this.#blank = 0;
    this.#generation++;
  }

  result(): AnsiText {
    this.#flush();
    this.#rows.push(this.#text);
    return { text: this.#rows.join("\n"), spans: this.#spans };
  }

  #flush(): void {
    const parts: string[] = [];
    let length = this.#offset;
    let last = this.#spans.at(-1);
    for (let at = 0; at < this.#end; at++) {
      const shown = this.#written[at] === this.#generation;
      const character = shown ? (this.#characters[at] ?? " ") : " ";
      const style = shown ? (this.#styles[at] ?? NONE) : NONE;
      parts.push(character);
      if (style !== NONE) {
        if (last !== undefined && last.style === style && last.end === length) last.end += character.length;
        else {
          last = { start: length, end: length + character.length, style };
          this.#spans.push(last);
        }
      }
      length += character.length;
    }
    this.#text = parts.join("");
  }
}

interface Escape {
  readonly end: number;
  readonly final: string;
  readonly parameters: string;
}

/** Return what to skip from an escape on; `final` is set for control sequences without intermediate characters. */
function readEscape(source: string, index: number, lastString: number): Escape {
  CSI.lastIndex = index;
  const match = CSI.exec(source);
  if (match !== null) {
    const [whole, parameters = "", intermediate, final = ""] = match;
    return { end: index + whole.length, final: intermediate === "" ? final : "", parameters };
  }
  const isTwo = source.charCodeAt(index) === 0x1b;
  const kind = isTwo ? (source[index + 1] ?? "") : String.fromCharCode(source.charCodeAt(index) - 0x40);
  const begun = index + (isTwo ? 2 : 1);
  if (kind !== "" && "P]X^_".includes(kind)) {
    // A string that never ends must not swallow the text: only its beginning is removed.
    if (begun > lastString) return { end: begun, final: "", parameters: "" };
    STRING_END.lastIndex = begun;
    STRING_END.exec(source);
    return { end: STRING_END.lastIndex || begun, final: "", parameters: "" };
  }
  if (!isTwo) return { end: begun, final: "", parameters: "" };
  let end = index + 1;
  while (end < source.length && isBetween(source, end, 0x20, 0x2f)) end++;
  if (end < source.length && isBetween(source, end, 0x30, 0x7e)) end++;
  return { end, final: "", parameters: "" };
}

function isBetween(text: string, index: number, first: number, last: number): boolean {
  const code = text.charCodeAt(index);
  return code >= first && code <= last;
}

function lastStringEnd(source: string): number {
  return Math.max(source.lastIndexOf("\x07"), source.lastIndexOf("\x1b\\"), source.lastIndexOf("\x9c"));
}

type Changes = { -readonly [name in keyof AnsiStyle]: AnsiStyle[name] | undefined };
const SET: Readonly<Record<number, Changes>> = {
  1: { bold: true },
  2: { dim: true },
  3: { italic: true },
  4: { underline: true },
  7: { inverse: true },
  9: { strike: true },
  21: { underline: true },
  22: { bold: undefined, dim: undefined },
  23: { italic: undefined },
  24: { underline: undefined },
  27: { inverse: undefined },
  29: { strike: undefined },
  39: { foreground: undefined },
  49: { background: undefined },
};

/** Return a style after a sequence of SGR parameters, as between `\x1b[` and `m`. Unknown ones change nothing. */
export function applySgr(style: AnsiStyle, parameters: string): AnsiStyle {
  if (parameters === "" || parameters === "0") return NONE;
  let changed: Changes = { ...style };
  const groups = parameters.split(";");
  for (let index = 0; index < groups.length; index++) {
    const [first = "", ...rest] = (groups[index] ?? "").split(":");
    const code = first === "" ? 0 : Number(first);
    if (code === 0) changed = {};
    else if (code === 38 || code === 48) {
      const separate = rest.length === 0;
      const numbers = (separate ? groups.slice(index + 1, index + 5) : rest).map(Number);
      const used = numbers[0] === 5 ? 2 : numbers[0] === 2 ? 4 : 1;
      if (separate) index += used;
      // With colons, a colour space may stand before the components.
      const components = numbers.slice(!separate && numbers.length > 4 ? 2 : 1);
      const colour =
        numbers[0] === 5 ? indexedColour(numbers[1]) : numbers[0] === 2 ? rgbColour(components) : undefined;
      if (colour !== undefined) changed[code === 38 ? "foreground" : "background"] = colour;
    } else if (code === 4 && rest[0] === "0") changed.underline = undefined;
    else if (SET[code] !== undefined) Object.assign(changed, SET[code]);
    else if (code >= 30 && code <= 37) changed.foreground = code - 30;
    else if (code >= 40 && code <= 47) changed.background = code - 40;
    else if (code >= 90 && code <= 97) changed.foreground = code - 82;
    else if (code >= 100 && code <= 107) changed.background = code - 92;
  }
  const kept = Object.entries(changed).filter(([, value]) => value !== undefined);
  return kept.length === 0 ? NONE : Object.fromEntries(kept);
}

function indexedColour(index: number | undefined): AnsiColour | undefined {
  if (index === undefined || !(index >= 0 && index <= 255)) return undefined;
  if (index < 16) return index;
  if (index >= 232) return rgbColour([8 + 10 * (index - 232), 8 + 10 * (index - 232), 8 + 10 * (index - 232)]);
  const level = (step: number) => (step === 0 ? 0 : 55 + 40 * step);
  const cube = index - 16;
  return rgbColour([level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6)]);
}

function rgbColour(components: readonly number[]): AnsiColour | undefined {
  const [red, green, blue] = components;
  if (red === undefined || green === undefined || blue === undefined) return undefined;
  const valid = [red, green, blue].every((each) => each >= 0 && each <= 255);
  return valid ? RGB + red * 0x10000 + green * 0x100 + blue : undefined;
}
