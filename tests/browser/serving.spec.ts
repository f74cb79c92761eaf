import { expect, test } from "./fixtures.ts";

test("the hub's own address opens without an error", async ({ page, hub }) => {
  const answer = await page.goto(hub.url);
  expect(answer?.status()).toBe(200);
  await expect(page).toHaveTitle(/tidings/i);
});
