import { describe, expect, test } from "vitest";
import { grantCovers } from "../src/grants.ts";
import { backTo } from "../src/pages/sign-in/back.ts";

describe("what a grant covers", () => {
  test.each([
    ["admin", "cancel", "operations/a", true],
    ["read operations", "read", "operations", true],
    ["read operations/acme.*", "read", "operations", true],
    ["read data", "read", "operations", false],
    ["read operations", "cancel", "operations", false],
    ["cancel operations/acme.*", "cancel", "operations/acme.import", true],
    ["cancel operations/acme.*", "cancel", "operations/other", false],
    ["cancel operations/one", "cancel", "operations/one", true],
    ["cancel operations", "cancel", "operations/a/b", true],
    ["details", "details", "", true],
    ["administer", "cancel", "operations", false],
  ])("%s lets %s %s: %s", (line, action, path, isCovered) => {
    expect(grantCovers(line, action, path)).toBe(isCovered);
  });
});

describe("the way back from signing in", () => {
  const base = new URL("https://hub.example/tidings/");
  test.each([
    [null, "/tidings/"],
    ["names?q=a%26b", "/tidings/names?q=a%26b"],
    ["", "/tidings/"],
    ["https://evil.example/tidings/names", "/tidings/"],
    ["//evil.example/tidings/", "/tidings/"],
    ["/other/", "/tidings/"],
    ["../other", "/tidings/"],
    ["javascript:alert(1)", "/tidings/"],
    ["\\\\evil.example/tidings/", "/tidings/"],
    ["signin?back=names", "/tidings/"],
  ])("%s leads to %s", (given, address) => expect(backTo(given, base)).toBe(address));
});
