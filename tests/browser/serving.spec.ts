import { expect, test } from "./fixtures.ts";

test("the hub's own address is a page", async ({ page, hub }) => {
  const answer = await page.request.get(hub.url, { headers: { accept: "text/html" } });
  expect(answer.status()).toBe(200);
  expect(await answer.text()).toContain("<title>tidings</title>");
});
