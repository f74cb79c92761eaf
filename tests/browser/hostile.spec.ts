import { expect, test } from "./fixtures.ts";
import { open } from "./views.ts";

const MARKUP = `<img src=x onerror="window.pwned=1"><script>window.pwned=2</script>`;
const STRINGS = {
  markup: MARKUP,
  attribute: `" onmouseover="window.pwned=3" x='`,
  link: "javascript:window.pwned=4",
  data: "data:text/html,<script>window.pwned=5</script>",
  ansi: "\u001b]8;;javascript:window.pwned=6\u0007link\u001b]8;;\u0007\u001b[31mred\u001b[0m\u001b]0;title\u0007",
  bidi: "\u202egnp.exe\u202c\u0000\ufeff\u2028",
  template: "{{constructor.constructor('window.pwned=7')()}}$\u007bwindow.pwned=8}</title></script><!--",
  long: "n".repeat(200),
  path: "../../..//evil.example/%2e%2e%2f?x=1#y&z=%00",
} as const;

for (const [kind, text] of Object.entries(STRINGS)) {
  test(`hostile text stays text in every field: ${kind}`, async ({ page, faults, hub }) => {
    faults.expect(/status of 422 .*[?&]path=/); // the hub refuses it as a path
    if (kind === "long") await page.setViewportSize({ width: 390, height: 844 });
    const id = "hostile-1";
    const event = (verb: string, operation: string, data: object) => ({
      type: `operation:${verb}`,
      data: { operation_id: operation, ...data },
    });
    // Control characters are refused in keys.
    const named = text.replace(/\p{Cc}/gu, "");
    const idOfText = named.replace(/\s/g, "_");
    await hub.publish(
      event("start", id, {
        name: named,
        host: text,
        user: text,
        command: text,
        steps: [named, "b"],
        total_steps: 2,
        metadata: { [named]: text, url: text, trace_url: text },
      }),
      event("progress", id, { progress: 40, current_step: named, message: text }),
      ...["info", "error"].map((level) => event("log", id, { level, message: text })),
      event("start", "hostile-2", { name: named, parent_id: id }),
      event("failed", "hostile-2", {
        code: "B".repeat(60),
        message: text,
        hint: text,
        details: text,
        recoverable: true,
      }),
      event("start", "hostile-3", { name: named }),
      event("cancelled", "hostile-3", { reason: text, cancelled_by: text }),
      event("start", "hostile-4", { name: named }),
      event("complete", "hostile-4", { message: text, result: { [named]: text, url: text } }),
      event("start", idOfText, { name: "Hostile id" }),
      { type: "data:update", data: { dataset: named, version: text, url: text, metadata: { [named]: text } } },
    );
    const name = encodeURIComponent(named);
    const pages = [
      "",
      ...[id, "hostile-2", "hostile-3", "hostile-4", encodeURIComponent(idOfText)].map((one) => `operation?id=${one}`),
      `log?id=${id}`,
      "names",
      `name?name=${name}`,
      "events",
      "system",
      "wall",
      `?q=${name}&name=${name}&path=${name}&state=${name}&sort=${name}&group=${name}`,
    ];
    for (const path of pages) {
      await open(page, hub, path);
      await expect(page.locator("main")).not.toBeEmpty();
      const found = await page.evaluate(() => ({
        pwned: (globalThis as { pwned?: unknown }).pwned ?? null,
        links: [...document.querySelectorAll("a[href], [src], form[action], button[formaction]")]
          .map((one) =>
            ["href", "src", "action", "formaction"].map((name) => one.getAttribute(name)).find((at) => at !== null),
          )
          .filter((address) => new URL(address ?? "", document.baseURI).origin !== location.origin),
        foreign: document.querySelectorAll("main img, main script, main iframe, main object").length,
        beyond: document.documentElement.scrollWidth - innerWidth,
      }));
      expect(found, path).toEqual({ pwned: null, links: [], foreign: 0, beyond: 0 });
    }
    await open(page, hub, "operation?id=hostile-2");
    if (kind === "markup") await expect(page.locator("main")).toContainText(MARKUP);
    expect(await page.title()).not.toContain("\u202e");
  });
}
