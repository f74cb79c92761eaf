import { AxeBuilder } from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { expect, test } from "./fixtures.ts";
import { open, PAGES, someOperations } from "./views.ts";

async function findings(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations.flatMap(({ id, help, nodes }) => nodes.map(({ html }) => `${id}: ${help}: ${html.slice(0, 300)}`));
}

for (const colorScheme of ["light", "dark"] as const) {
  test.describe(colorScheme, () => {
    test.use({ colorScheme, contextOptions: { reducedMotion: "reduce" } });

    test("axe finds nothing on any page", async ({ page, hub }) => {
      test.slow(); // reads each node of nine pages
      await hub.publish(...someOperations());
      for (const path of PAGES) {
        await open(page, hub, path);
        await expect(page.locator("main")).not.toBeEmpty();
        expect.soft(await findings(page), path).toEqual([]);
      }
    });
  });
}

test("axe finds nothing on a phone, and nothing scrolls sideways", async ({ page, hub }) => {
  test.slow();
  await page.setViewportSize({ width: 390, height: 844 });
  await hub.publish(...someOperations());
  for (const path of PAGES) {
    await open(page, hub, path);
    await expect(page.locator("main")).not.toBeEmpty();
    expect.soft(await findings(page), path).toEqual([]);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect.soft(overflow, `${path} scrolls sideways`).toBeLessThanOrEqual(0);
  }
});
