import { main } from "./program.mjs";

test("the package loads in Jest", async () => {
  const printed = [];
  await main(process.env.TIDINGS_URL, (text) => printed.push(text));
  expect(printed).toEqual(["nightly true"]);
});
