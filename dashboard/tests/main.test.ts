import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

test("the page loads one module and holds no inline script", () => {
  const page = readFileSync(new URL("../index.html", import.meta.url), "utf8");
  expect(page.match(/<script[^>]*>[^<]/)).toBeNull();
});
