/** The dashboard by keyboard alone. */
import { AWAY, expect, test } from "./fixtures.ts";
import { isLive, isStale, open, someOperations } from "./views.ts";

for (const path of ["", "operation?id=import-1", "log?id=import-1", "events"]) {
  test(`Esc closes what floats, and leaves neither the page nor the focus: /${path}`, async ({ page, hub }) => {
    await hub.publish(...someOperations());
    await open(page, hub, path);
    const place = new URL(page.url()).pathname;
    const button = page.locator(".link");
    await button.focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog", { name: "The link to the hub" });
    await expect(dialog).toBeFocused(); // it has no control of its own while the link is live
    await page.keyboard.press("Escape");
    await expect(dialog).toHaveCount(0);
    await expect(button).toBeFocused();
    expect(new URL(page.url()).pathname).toBe(place);
  });
}

test("Esc closes a popup whose focused button has gone", async ({ page, faults, hub, start }) => {
  faults.expect(AWAY);
  const wire = await start.wire(hub);
  await open(page, wire);
  wire.cut();
  await isStale(page);
  await page.locator(".link").click();
  const dialog = page.getByRole("dialog", { name: "The link to the hub" });
  await expect(dialog.getByRole("button", { name: "Try now" })).toBeFocused();
  wire.restore();
  await isLive(page);
  await expect(dialog.getByRole("button")).toHaveCount(0);
  await expect(dialog).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(dialog).toHaveCount(0);
  await expect(page.locator(".link")).toBeFocused();
});

test("keys act on what lies over the page, and not on the page below", async ({ page, hub }) => {
  await hub.publish(...someOperations());
  await open(page, hub, "operation?id=import-1");
  await page.keyboard.press("?");
  const keys = page.getByRole("dialog", { name: "Keys" });
  await expect(keys).toBeVisible();
  await page.keyboard.press("c"); // would ask whether to cancel the operation
  await page.keyboard.press("Escape");
  await expect(keys).toHaveCount(0);
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(page).toHaveURL(/operation\?id=import-1/);
  const settings = page.getByRole("button", { name: /^Settings/ });
  await settings.press("Enter");
  await expect(page.getByRole("menu")).toBeVisible();
  await page.keyboard.press("y"); // no entry begins with it; below, it copies
  await page.keyboard.press("c"); // the first entry that begins with it
  await expect(page.getByRole("menuitemcheckbox", { name: "Colours of the system" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(settings).toBeFocused();
  await expect(page.getByText("Copied")).toHaveCount(0);
  await expect(page).toHaveURL(/operation\?id=import-1/);
});
