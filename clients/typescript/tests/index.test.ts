import { expect, test } from "vitest";
import { PROTOCOL } from "../src/index.ts";

test("the subprotocol is that of the hub", () => {
  expect(PROTOCOL).toBe("tidings.v1");
});
