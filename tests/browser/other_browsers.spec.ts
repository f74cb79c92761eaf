import { expect, test } from "./fixtures.ts";
import { firefox, webkit } from "./other_browsers.ts";
import { Wire } from "./wire.ts";

for (const [name, launch] of Object.entries({ Firefox: firefox, WebKit: webkit })) {
  test(`${name} loads a page, follows a job, resumes after a cut, and goes back`, async ({ hub, start }) => {
    const browser = await launch();
    try {
      const wire = await Wire.to(hub.port);
      const job = await start.job(hub, "Import prices");
      const percent = `document.querySelector("main [role=progressbar]")?.getAttribute("aria-valuenow") ?? ""`;
      const shows = async (expression: string, value: unknown) =>
        await expect.poll(async () => await browser.evaluate<unknown>(expression)).toEqual(value);
      await browser.open(wire.url);
      job.progress(40);
      await shows(percent, "40");
      wire.cut();
      await shows(`document.querySelector(".link[data-state=stale]") !== null`, true);
      // The code of the other pages is there already: WebKit would not load it now.
      await browser.click("nav a[href*='system']");
      await shows(`document.querySelector("h1")?.textContent`, "System");
      await browser.click("nav a[href='/']");
      job.progress(60);
      wire.restore();
      await shows(`document.querySelector(".link[data-state=live]") !== null`, true);
      await shows(percent, "60");
      await browser.click("main a[href*='operation?id=']");
      await shows(
        `location.pathname + " " + document.querySelector("h1")?.textContent.includes("Import prices")`,
        "/operation true",
      );
      await browser.back();
      job.progress(80);
      await shows(`location.pathname`, "/");
      await shows(percent, "80");
      job.complete();
      await shows(`document.querySelector("main").textContent.includes("took")`, true);
      wire.close();
    } finally {
      await browser.close();
    }
  });
}
