/**
 * Colours of a terminal as colours that can be read on the page, in both themes: at least 4.5:1 on its backgrounds.
 *
 * A terminal's colours are meant for black or for white. Here a colour keeps its hue and is moved towards black in the
 * light theme and towards white in the dark one, as far as needed.
 */

import { type AnsiColour, type AnsiStyle, RGB } from "./ansi.ts";

/** How a style is drawn: classes of the style sheet, and custom properties to set on the element's `style`. */
export interface Paint {
  readonly classes: string;
  readonly properties: Readonly<Record<string, string>>;
}

type Components = readonly [red: number, green: number, blue: number];

/** The backgrounds that text of a log can have, the worst of each theme: `--bg-selected` and `--bg-sunken`. */
export const LOG_BACKGROUNDS = { light: "#e9ecf1", dark: "#232830" } as const;
const PAGE_TEXT = { light: "#191d24", dark: "#e8ebf0" } as const;
/** Least contrast of text, WCAG 2.2 AA. */
export const MIN_CONTRAST = 4.5;
const STEPS = 40;
const BLACK: Components = [0, 0, 0];
const WHITE: Components = [255, 255, 255];
/** The palette of common terminals, from black to bright white. */
const PALETTE = [
  0x000000, 0xcd3131, 0x0f9d58, 0xb58900, 0x2472c8, 0xbc3fbc, 0x11a8cd, 0xbfbfbf, 0x666666, 0xf14c4c, 0x23d18b,
  0xf5d000, 0x3b8eea, 0xd670d6, 0x29b8db, 0xffffff,
];
const MAX_KNOWN = 2_000;
const known = new Map<string, Paint>();

/** Return how a style is drawn; equal styles have the same object. */
export function paint(style: AnsiStyle): Paint {
  const key = `${style.foreground},${style.background},${style.bold},${style.dim},${style.italic},${style.underline},${style.strike},${style.inverse}`;
  const found = known.get(key);
  if (found !== undefined) return found;
  if (known.size >= MAX_KNOWN) known.clear(); // a text may name 16 million colours
  const made = makePaint(style);
  known.set(key, made);
  return made;
}

function makePaint(style: AnsiStyle): Paint {
  const classes: string[] = [];
  const properties: Record<string, string> = {};
  for (const name of ["bold", "italic", "underline", "strike"] as const) if (style[name]) classes.push(`ansi-${name}`);
  let { foreground, background } = style;
  const inverse = style.inverse === true;
  if (inverse) [foreground, background] = [background, foreground];
  if (inverse && background === undefined) {
    // The page's text colour becomes the background.
    classes.push("ansi-inverse");
    if (foreground !== undefined) setText(properties, foreground, PAGE_TEXT);
  } else if (background !== undefined) {
    const behind = components(background);
    const text = foreground === undefined ? strongest(behind) : components(foreground);
    classes.push("ansi-filled");
    properties["--ansi-background"] = hex(behind);
    properties["--ansi-light"] = properties["--ansi-dark"] = hex(readable(text, behind));
  } else if (foreground !== undefined) {
    classes.push("ansi-coloured");
    setText(properties, foreground, LOG_BACKGROUNDS);
  } else if (style.dim) classes.push("ansi-dim");
  return { classes: classes.join(" "), properties };
}

function setText(properties: Record<string, string>, colour: AnsiColour, on: { light: string; dark: string }): void {
  properties["--ansi-light"] = hex(readable(components(colour), parseHex(on.light)));
  properties["--ansi-dark"] = hex(readable(components(colour), parseHex(on.dark)));
}

/** Return the colour nearest to `text` that is readable on `behind`. */
function readable(text: Components, behind: Components): Components {
  const target = strongest(behind);
  for (let step = 0; step <= STEPS; step++) {
    const mixed = mix(text, target, step / STEPS);
    if (contrastOf(mixed, behind) >= MIN_CONTRAST) return mixed;
  }
  return target;
}

/** Return the contrast of two colours, `#rrggbb`: 1–21. */
export function contrast(one: string, other: string): number {
  return contrastOf(parseHex(one), parseHex(other));
}

function contrastOf(one: Components, other: Components): number {
  const [dark = 0, light = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

function strongest(behind: Components): Components {
  return contrastOf(BLACK, behind) >= contrastOf(WHITE, behind) ? BLACK : WHITE;
}

function luminance(colour: Components): number {
  const [red, green, blue] = colour.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function mix(from: Components, to: Components, share: number): Components {
  const at = (index: 0 | 1 | 2) => Math.round(from[index] + (to[index] - from[index]) * share);
  return [at(0), at(1), at(2)];
}

function components(colour: AnsiColour): Components {
  const packed = colour >= RGB ? colour - RGB : (PALETTE[colour] ?? 0);
  return [packed >> 16, (packed >> 8) & 255, packed & 255];
}

function parseHex(text: string): Components {
  return components(RGB + Number.parseInt(text.slice(1), 16));
}

function hex(colour: Components): string {
  return `#${colour.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}
