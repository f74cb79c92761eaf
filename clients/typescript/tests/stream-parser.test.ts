/** The parser of event streams. */
import { describe, expect, test } from "vitest";
import { StreamParser } from "../src/stream.ts";

describe("the parser", () => {
  /** Return what the parser reads from `parts`. */
  function parse(...parts: string[]): string[] {
    const found: string[] = [];
    const parser = new StreamParser(
      (data) => found.push(data),
      () => found.push(":"),
    );
    for (const part of parts) parser.feed(part);
    return found;
  }

  const STREAM =
    'retry: 1000\nid: p:1\ndata: {"a":1}\n\n: alive\r\ndata:x\rdata: y\r\n\r\ndata\n\nevent: z\n\ndata: cut';
  const BLOCKS = ['{"a":1}', ":", "x\ny", ""];

  test("reads blocks of all line ends, comments and empty data, and no block that is not complete", () => {
    expect(parse(STREAM)).toEqual(BLOCKS);
    expect(parse(`\uFEFF${STREAM}`)).toEqual(BLOCKS);
  });

  test("reads the same however the stream is cut", () => {
    for (let cut = 0; cut <= STREAM.length; cut += 1) {
      expect(parse(STREAM.slice(0, cut), STREAM.slice(cut))).toEqual(BLOCKS);
    }
    expect(parse(...STREAM)).toEqual(BLOCKS);
  });

  test("refuses a block that no hub sends", () => {
    expect(() => parse(`data: ${"x".repeat(2 << 20)}`)).toThrow("too large");
    expect(() => parse(...Array.from({ length: 40 }, () => `data: ${"x".repeat(1 << 16)}\n`))).toThrow("too large");
  });
});
