import { expect, test } from "vitest";
import { bundle, SOURCE } from "./bundle.ts";

const CONTRACT = JSON.stringify(`${SOURCE}generated/contract.ts`);

test("a bundle with constants of the contract has none of its guards", async () => {
  const code = await bundle(`export { SUBPROTOCOL, shouldReconnect } from ${CONTRACT};`);
  expect(code).toContain("tidings.v1");
  expect(code).not.toContain("operation:start");
  expect(code.length).toBeLessThan(300);
});

test("a bundle with a guard has the checks", async () => {
  expect(await bundle(`export { isOperationStart } from ${CONTRACT};`)).toContain("expected one of");
});
