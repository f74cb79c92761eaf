import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "./fixtures.ts";
import { Process, tidings } from "./processes.ts";
import { isLive, open, row } from "./views.ts";

const REFUSED = /status of 401|status of 403|WebSocket connection to/;

/** Add a key with grants to a file of keys, and return it. */
async function keyOf(file: string, name: string, ...grants: readonly string[]): Promise<string> {
  const options = grants.flatMap((grant) => ["--grant", grant]);
  return (await tidings(["key", "add", name, "--keys", file, ...options])).trim();
}

test("a key signs in, is kept, and is forgotten by signing out", async ({ page, faults, start, folder }) => {
  faults.expect(REFUSED);
  const file = join(folder, "keys.jsonl");
  const key = await keyOf(file, "ada", "admin");
  const hub = await start.hub({ options: ["--auth", "keys", "--keys", file] });
  await page.goto(hub.url);
  await page.getByRole("link", { name: "Sign in" }).first().click();
  await expect(page.locator("main")).not.toContainText("Authorization"); // what a program would send helps no reader
  const field = page.getByLabel("Key or token");
  await field.fill("not-a-key");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.locator("main")).toContainText(/not|refuse|unknown/i);
  await field.fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await isLive(page);
  await expect(page.getByRole("button", { name: /Signed in as .*ada/ })).toBeVisible();
  await page.reload();
  await isLive(page);
  // What another program wrote in the place of the key, or an earlier key leaves, keeps no one from signing in again.
  for (const other of ["two words", "tidings-of-yesterday"]) {
    await page.evaluate((text) => sessionStorage.setItem("tidings::key", text), other);
    await page.reload();
    await page.getByRole("link", { name: "Sign in" }).first().click();
    await page.getByLabel("Key or token").fill(key);
    await page.getByLabel(/Stay signed in/).setChecked(other === "two words");
    await page.getByRole("button", { name: "Sign in" }).click();
    await isLive(page);
    await page.reload();
    await isLive(page);
  }
  await page.getByRole("button", { name: /Signed in as/ }).click();
  await expect(page.getByRole("dialog", { name: "Who you are" })).toContainText("kept until this tab is closed");
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page.getByRole("link", { name: "Sign in" }).first()).toBeVisible();
  await page.reload();
  await expect(page.getByRole("link", { name: "Sign in" }).first()).toBeVisible();
  expect(await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]))).not.toContain(key);
});

test("who sees only a part is not told that there is nothing", async ({ page, faults, start, folder }) => {
  faults.expect(REFUSED);
  const file = join(folder, "keys.jsonl");
  const key = await keyOf(file, "ada", "read operations/acme.*");
  const hub = await start.hub({ options: ["--auth", "keys", "--keys", file] });
  await page.goto(new URL("signin", hub.url).href);
  await page.getByLabel("Key or token").fill(key);
  await page.getByLabel(/Stay signed in/).check();
  await page.keyboard.press("Enter");
  await isLive(page);
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Nothing has run here yet that you may see");
  for (const path of ["names", "events"]) {
    await open(page, hub, path);
    await expect(page.locator("main")).toContainText("yet that you may see.");
  }
  await page.getByRole("button", { name: /Signed in as/ }).click();
  await expect(page.getByRole("dialog", { name: "Who you are" })).toContainText("kept by this browser");
});

test("the command that begins without installing anything works where a key is needed", async ({
  page,
  faults,
  start,
  folder,
}) => {
  faults.expect(REFUSED);
  const file = join(folder, "keys.jsonl");
  const key = await keyOf(file, "ada", "admin");
  const hub = await start.hub({ options: ["--auth", "keys", "--keys", file] });
  await page.goto(new URL("signin", hub.url).href);
  await page.getByLabel("Key or token").fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();
  const command = await page.getByText(/^curl /).textContent();
  const env = { PATH: process.env["PATH"] ?? "", TIDINGS_TOKEN: key };
  const shell = start.process(new Process("/bin/sh", ["-c", command ?? ""], { env }));
  expect(await shell.ended).toBe(0);
  await expect(row(page, "hello")).toBeVisible();
});

test("a missing right is a lock with the grant's name", async ({ page, faults, start, folder }) => {
  faults.expect(REFUSED);
  const file = join(folder, "keys.jsonl");
  const [admin, reader] = [await keyOf(file, "admin", "admin"), await keyOf(file, "reader", "read operations")];
  const hub = await start.hub({ options: ["--auth", "keys", "--keys", file] });
  const job = await start.job(hub, "Import prices", {}, { TIDINGS_TOKEN: admin });
  await page.goto(new URL("signin", hub.url).href);
  await page.getByLabel("Key or token").fill(reader);
  await page.getByRole("button", { name: "Sign in" }).click();
  await isLive(page);
  await expect(row(page, "Import prices")).toBeVisible();
  await open(page, hub, `operation?id=${job.id}`);
  await expect(
    page.getByText("cancel operations").or(page.locator('[title*="cancel operations"]')).first(),
  ).toBeVisible();
  await page.goto(new URL("system", hub.url).href);
  await expect(page.locator("main")).toContainText(/read system|admin/);
  expect(job.isRunning).toBe(true);
});

test("an expired token is noticed, and a new one continues", async ({ page, faults, start, folder }) => {
  faults.expect(REFUSED);
  const secret = join(folder, "secret");
  writeFileSync(secret, randomBytes(48).toString("base64"));
  const issue = async (expires: string) => {
    const options = ["--subject", "ada", "--grant", "read *", "--expires", expires, "--secret-file", secret];
    return (await tidings(["token", "issue", ...options])).trim();
  };
  const options = ["--auth", "jwt", "--jwt-secret-file", secret, "--jwt-leeway", "0s"];
  const hub = await start.hub({ options });
  const field = page.getByLabel("Key or token");
  await page.goto(new URL("signin", hub.url).href);
  await field.fill(await issue("8s"));
  await page.getByRole("button", { name: "Sign in" }).click();
  await isLive(page);
  await expect(page.getByRole("link", { name: "Sign in" }).first()).toBeVisible();
  await page.getByRole("link", { name: "Sign in" }).first().click();
  await field.fill(await issue("1h"));
  await page.getByRole("button", { name: "Sign in" }).click();
  await isLive(page);
});
