import { describe, expect, test } from "vitest";
import { applySgr, parseAnsi, RGB } from "../../src/format/ansi.ts";
import { contrast, LOG_BACKGROUNDS, MIN_CONTRAST, paint } from "../../src/format/ansi-paint.ts";

const visible = (source: string) => parseAnsi(source).text;

describe("text", () => {
  test.each([
    ["plain", "plain"],
    ["10%\r20%\r100%", "100%"],
    ["abcdef\rXY", "XYcdef"],
    ["abcdef\r\x1b[KXY", "XY"],
    ["abcdef\x1b[2K", ""],
    ["abcdef\x1b[2Kg", "      g"],
    ["abcdef\b\b\x1b[1KZ", "    Zf"],
    ["abc\b\bX", "aXc"],
    ["\b\b\ba", "a"],
    ["one\r\ntwo\rTW", "one\nTWo"],
    ["a\x1b[2Jb\x1b[10;20Hc\x1b[?25ld\x1b[5Ae", "abcde"],
    ["\x1b]0;a title\x07text", "text"],
    ["\x1b]8;;https://example.org\x1b\\label\x1b]8;;\x1b\\", "label"],
    ["\x1b]0;never ends", "0;never ends"],
    ["\x1bPq#0;2;0\x1b\\after", "after"],
    ["\x9b31mred\x9b0m", "red"],
    ["\x9d0;title\x9cx", "x"],
    ["\x1b(B\x1b)0\x1b7a\x1b8", "a"],
    ["cut off \x1b[31", "cut off "],
    ["cut off \x1b", "cut off "],
    ["bell\x07 nul\0 del\x7f", "bell nul del"],
    ["\u202egnp.exe", " gnp.exe"],
    ["e\u0301\rX", "X"],
    ["👩‍👩‍👧 family", "👩‍👩‍👧 family"],
    ["<script>alert(1)</script>\x1b[0m", "<script>alert(1)</script>"],
    ["a\tb\x1b[m", "a\tb"],
  ])("%j is shown as %j", (source, text) => {
    expect(visible(source)).toBe(text);
  });

  test("no control character is left, whatever comes in", () => {
    let seed = 1;
    const random = (below: number) => {
      seed = (seed * 48271) % 2147483647;
      return seed % below;
    };
    const pieces = [
      "\x1b",
      "[",
      "]",
      "0;",
      "31",
      "m",
      "K",
      "\r",
      "\b",
      "\n",
      "\x07",
      "\x9b",
      "\x9c",
      "P",
      "é",
      "😀",
      "\u202e",
    ];
    for (let round = 0; round < 3_000; round++) {
      const source = Array.from({ length: random(30) }, () => pieces[random(pieces.length)]).join("");
      const { text, spans } = parseAnsi(source);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these must not be left
      expect(text).not.toMatch(/[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]/);
      let end = 0;
      for (const span of spans) {
        expect(span.start).toBeGreaterThanOrEqual(end);
        expect(span.end).toBeGreaterThan(span.start);
        end = span.end;
      }
      expect(end).toBeLessThanOrEqual(text.length);
    }
  });
});

describe("cost", () => {
  const bar = (index: number) => `\r${String(index % 101).padStart(3)}%|${"█".repeat(index % 40)}| ${index}/100000`;

  test("100,000 refreshes of a bar are one line", () => {
    const source = Array.from({ length: 100_000 }, (_, index) => bar(index)).join("");
    const { text } = parseAnsi(`${source}\r\x1b[Kdone`);
    expect(text).toBe("done");
  });

  test.each([
    ["unterminated strings", "\x1b]"],
    ["erasing to the left", "ab\x1b[1K"],
    ["erasing the line behind a far cursor", "\x1b[2Kx"],
    ["going backwards", "x\b\b\x1b[2K"],
    ["long parameters", "\x1b[1;2;3;"],
    ["nested introducers", "\x1b[\x1b[\x9b"],
    ["new lines", "\n"],
    ["combining characters", "a\u0301\u0301"],
  ])("%s cost no more than their length", (_, piece) => {
    // A quadratic cost would be minutes at this length; the test's own timeout ends it.
    const source = "x".repeat(200_000) + piece.repeat(200_000);
    expect(parseAnsi(source).text.length).toBeLessThan(2 * source.length);
  });
});

describe("styles", () => {
  test("spans name the styled text only", () => {
    const { text, spans } = parseAnsi("a \x1b[1;31mred\x1b[0m b \x1b[32mgreen");
    expect(text).toBe("a red b green");
    expect(spans).toEqual([
      { start: 2, end: 5, style: { bold: true, foreground: 1 } },
      { start: 8, end: 13, style: { foreground: 2 } },
    ]);
  });

  test("a style goes on after a line end, and an overwritten cell has the newer one", () => {
    expect(parseAnsi("\x1b[31mab\ncd").spans.map(({ start, end }) => [start, end])).toEqual([
      [0, 2],
      [3, 5],
    ]);
    expect(parseAnsi("\x1b[31mabc\r\x1b[0mx").spans).toEqual([{ start: 1, end: 3, style: { foreground: 1 } }]);
  });

  test.each([
    ["38;5;9", { foreground: 9 }],
    ["38;5;196", { foreground: RGB + 0xff0000 }],
    ["48;5;244", { background: RGB + 0x808080 }],
    ["38;2;1;2;3", { foreground: RGB + 0x010203 }],
    ["38:2::1:2:3", { foreground: RGB + 0x010203 }],
    ["38:2:1:2:3", { foreground: RGB + 0x010203 }],
    ["38:5:196", { foreground: RGB + 0xff0000 }],
    ["38;5;1;4", { foreground: 1, underline: true }],
    ["38;5;999;1", { bold: true }],
    ["38;2;1;2;999", {}],
    ["38", {}],
    ["95;103", { foreground: 13, background: 11 }],
    ["1;22;3;23;4;24;9;29;7;27;31;39;41;49", {}],
    ["4:3", { underline: true }],
    ["1;4:0", { bold: true }],
    ["7;999999999999999999999;x", { inverse: true }],
  ])("SGR %s", (parameters, style) => {
    expect(applySgr({}, parameters)).toEqual(style);
  });
});

describe("contrast", () => {
  const colours = [
    ...Array.from({ length: 16 }, (_, index) => index),
    ...[0x000000, 0xffffff, 0x808080, 0xffff00, 0x0000ff, 0x00ff00, 0x123456, 0xfedcba].map((rgb) => RGB + rgb),
  ];

  test("every colour can be read in both themes", () => {
    for (const foreground of colours) {
      const { properties, classes } = paint({ foreground });
      expect(classes).toBe("ansi-coloured");
      expect(contrast(properties["--ansi-light"] ?? "", LOG_BACKGROUNDS.light)).toBeGreaterThanOrEqual(MIN_CONTRAST);
      expect(contrast(properties["--ansi-dark"] ?? "", LOG_BACKGROUNDS.dark)).toBeGreaterThanOrEqual(MIN_CONTRAST);
    }
  });

  test("every pair of text and background can be read", () => {
    for (const background of colours) {
      for (const foreground of [undefined, ...colours]) {
        for (const inverse of [undefined, true] as const) {
          const { properties } = paint({
            background,
            ...(foreground === undefined ? {} : { foreground }),
            ...(inverse ? { inverse } : {}),
          });
          const behind = properties["--ansi-background"];
          if (behind === undefined) expect(inverse).toBe(true);
          else expect(contrast(properties["--ansi-light"] ?? "", behind)).toBeGreaterThanOrEqual(MIN_CONTRAST);
        }
      }
    }
  });

  test("equal styles share one object", () => {
    expect(paint({ foreground: 1 })).toBe(paint({ foreground: 1 }));
  });
});
