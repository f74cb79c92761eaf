import { expect, test } from "vitest";
import { nameView, readViews, type View } from "../../src/pages/operations/view-list.ts";

const view = (name: string, search = name): View => ({ name, search });

test("a view is added, renamed in its place, and takes the name of another", () => {
  const views = nameView(nameView([], view("a")), view("b"));
  expect(views).toEqual([view("a"), view("b")]);
  expect(nameView(views, view("first", "a"))).toEqual([view("first", "a"), view("b")]);
  expect(nameView(views, view("b", "a"))).toEqual([view("b", "a")]);
  expect(nameView(views, view("a", "c"))).toEqual([view("b"), view("a", "c")]);
});

test("views are bounded, and what is stored is checked", () => {
  let views: readonly View[] = [];
  for (let n = 0; n < 30; n++) views = nameView(views, view(`v${n}`));
  expect(views).toHaveLength(20);
  expect(readViews(JSON.parse(JSON.stringify(views)))).toEqual(views);
  expect(readViews([null, {}, { name: 1, search: "x" }, view("x")])).toEqual([view("x")]);
  expect(readViews("x")).toEqual([]);
});
