import type { Page } from "@playwright/test";
import { expect, test } from "./fixtures.ts";
import type { Hub } from "./processes.ts";
import { open } from "./views.ts";

const ID = "log-1";

/** Publish log lines, a thousand in each post. */
async function write(hub: Hub, messages: readonly string[], level = "info"): Promise<void> {
  for (let first = 0; first < messages.length; first += 1_000) {
    const batch = messages.slice(first, first + 1_000);
    await hub.publish(
      ...batch.map((message) => ({ type: "operation:log", data: { operation_id: ID, level, message } })),
    );
  }
}

const numbered = (count: number, from = 0) => Array.from({ length: count }, (_, index) => `line ${from + index}`);

async function begin(hub: Hub, name = "Import prices"): Promise<void> {
  await hub.publish({ type: "operation:start", data: { operation_id: ID, name } });
}

const log = (page: Page) => page.getByRole("region", { name: "Log lines" });
const line = (page: Page, text: string) => log(page).getByRole("listitem").filter({ hasText: text });

/** The visible lines with their places on the screen. */
function seen(page: Page): Promise<[string, number][]> {
  return log(page).evaluate((element) => {
    const box = element.getBoundingClientRect();
    return [...element.querySelectorAll("li")]
      .map((each): [string, number] => [each.textContent ?? "", each.getBoundingClientRect().top])
      .filter(([, top]) => top >= box.top && top < box.bottom)
      .sort((one, other) => one[1] - other[1]);
  });
}

const distance = (page: Page) =>
  log(page).evaluate(({ scrollHeight, clientHeight, scrollTop }) => scrollHeight - clientHeight - scrollTop);

test("the end is followed until one moves up by a pixel, and nothing moves under the reader", async ({ page, hub }) => {
  await begin(hub);
  await write(hub, numbered(900));
  await open(page, hub, `log?id=${ID}`);
  await expect(line(page, "line 899")).toBeVisible();
  await write(hub, numbered(100, 900));
  await expect(line(page, "line 999")).toBeVisible();
  expect(await distance(page)).toBeLessThan(1);
  await log(page).evaluate((element) => {
    element.scrollTop -= 1;
  });
  await expect(page.getByRole("button", { name: "To the end" })).toBeVisible();
  const before = await seen(page);
  await write(hub, numbered(5_000, 1_000));
  await expect(page.getByRole("button", { name: "5,000 new lines" })).toBeVisible();
  expect((await seen(page)).slice(0, before.length)).toEqual(before);
  await page.getByRole("button", { name: "5,000 new lines" }).click();
  await expect(line(page, "line 5999")).toBeVisible();
  expect(await distance(page)).toBeLessThan(1);
  await write(hub, ["one more"]);
  await expect(line(page, "one more")).toBeVisible();
});

test("finding covers all kept lines, most of which are not in the page", async ({ page, hub }) => {
  await begin(hub);
  await write(hub, ["needle at the top", ...numbered(400), "a NEEDLE in the middle", ...numbered(400, 400)]);
  await write(hub, ["the last needle"], "error");
  await open(page, hub, `log?id=${ID}`);
  await expect(line(page, "the last needle")).toBeVisible();
  await page.keyboard.press("Control+f");
  await page.keyboard.type("needle");
  const count = page.locator("search").getByRole("status");
  await expect(count).toHaveText("3 of 3");
  await page.keyboard.press("Enter");
  await expect(count).toHaveText("1 of 3");
  await expect(line(page, "needle at the top")).toBeVisible();
  await page.keyboard.press("Enter");
  await expect(line(page, "a NEEDLE in the middle")).toBeVisible();
  await page.keyboard.press("Shift+Enter");
  await expect(count).toHaveText("1 of 3");
  await page.getByRole("button", { name: /^Errors 1/ }).click();
  await expect(count).toHaveText("1 of 1");
  await expect(log(page).getByRole("listitem")).toHaveCount(1);
  await page.getByRole("button", { name: "All" }).click();
  await expect(count).toHaveText("3 of 3");
});

test("a line has an address, which leads back to it after a reload", async ({ page, hub }) => {
  await begin(hub);
  await write(hub, numbered(500));
  await open(page, hub, `log?id=${ID}`);
  await expect(line(page, "line 499")).toBeVisible();
  await page.locator("search input").fill("line 123");
  await line(page, "line 123").locator("a").first().click();
  await expect(page).toHaveURL(/[?&]line=[^&]+/);
  await page.reload();
  await expect(line(page, "line 123")).toBeInViewport();
  await expect(line(page, "line 499")).toHaveCount(0);
});

test("a terminal's text is shown as a terminal would, and its escapes on demand", async ({ page, hub }) => {
  await begin(hub);
  const bar = Array.from({ length: 5_000 }, (_, index) => `\r${index}/5000`).join("");
  await write(hub, ["\u001b[1;31mred\u001b[0m \u001b]0;title\u0007plain", `bar${bar}\r\u001b[Kdone`]);
  await write(
    hub,
    Array.from({ length: 900 }, (_, index) => `\r refresh ${index}`),
  );
  await open(page, hub, `log?id=${ID}`);
  await expect(line(page, "refresh 899")).toBeVisible();
  await expect(log(page).getByRole("listitem")).toHaveCount(3);
  await expect(line(page, "red plain")).toBeVisible();
  const red = log(page).getByText("red", { exact: true });
  const [colour, weight] = await red.evaluate((element) => {
    const { color, fontWeight } = getComputedStyle(element);
    return [color, fontWeight];
  });
  expect(weight).toBe("600");
  expect(colour).not.toBe(await line(page, "red plain").evaluate((element) => getComputedStyle(element).color));
  await expect(line(page, "done")).not.toContainText("5000");
  await page.getByRole("button", { name: "View" }).click();
  await page.getByRole("menuitemcheckbox", { name: /Raw/ }).click();
  await expect(line(page, "␛[1;31mred␛[0m ␛]0;title␇plain")).toBeVisible();
});

test("what the hub no longer keeps is said at the top", async ({ page, hub }) => {
  await begin(hub);
  await write(hub, numbered(2_500));
  await expect(async () => {
    await open(page, hub, `log?id=${ID}`);
    await expect(line(page, "line 2499")).toBeVisible();
    await log(page).press("Control+Home");
    await expect(log(page).getByText("no longer kept")).toBeVisible({ timeout: 2_000 });
  }).toPass();
  await expect(line(page, "line 0")).toHaveCount(0);
});

test("attempts are divided, and one of them can be shown alone", async ({ page, hub }) => {
  for (const attempt of [1, 2]) {
    await begin(hub);
    await write(hub, [`begun, attempt ${attempt}`]);
    const failure = { operation_id: ID, code: "Boom", message: "it broke", recoverable: true };
    await hub.publish({ type: "operation:failed", data: failure });
  }
  await open(page, hub, `operation?id=${ID}`);
  await expect(line(page, "begun, attempt 1")).toBeVisible();
  await expect(line(page, "2nd attempt")).toBeVisible();
  await page.getByRole("button", { name: "2nd attempt" }).first().click();
  await expect(line(page, "begun, attempt 1")).toHaveCount(0);
  await expect(line(page, "begun, attempt 2")).toBeVisible();
});

test("the lines are downloaded as text", async ({ page, hub }) => {
  await begin(hub);
  await write(hub, ["\u001b[31mred\u001b[0m"], "error");
  await open(page, hub, `log?id=${ID}`);
  await expect(line(page, "red")).toBeVisible();
  const downloaded = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download these lines" }).click();
  const download = await downloaded;
  expect(download.suggestedFilename()).toBe(`${ID}.log`);
  const chunks: Buffer[] = [];
  for await (const chunk of await download.createReadStream()) chunks.push(chunk as Buffer);
  expect(Buffer.concat(chunks).toString()).toMatch(/^\d{4}-\d\d-\d\d .* error {4}red\n$/);
});
