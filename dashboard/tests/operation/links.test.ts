import { describe, expect, test } from "vitest";
import type { Row } from "../../src/format/row.ts";
import {
  faultOf,
  linksFor,
  parseTemplates,
  readTemplates,
  templatesText,
  webAddress,
} from "../../src/pages/operation/link-templates.ts";

const operation: Row = {
  operation_id: "night/1 &x=<b>",
  name: "Import prices",
  state: "failed",
  attempt: 2,
  trace_id: "4bf9",
  heard_at: "2026-11-30T02:00:00Z",
  started_at: "2026-11-30T01:00:00Z",
  error: { code: "boom", message: "", recoverable: false },
};

describe("links", () => {
  test("values are encoded where they stand", () => {
    const template = "https://trace.example/{trace_id}?id={operation_id}&from={started_ms}&to={ended_ms}#{attempt}";
    expect(linksFor(operation, [{ label: "Trace", template }], 5)).toEqual([
      { label: "Trace", href: "https://trace.example/4bf9?id=night%2F1%20%26x%3D%3Cb%3E&from=1796000400000&to=5#2" },
    ]);
  });

  test("a template whose value is unknown makes no link", () => {
    expect(linksFor(operation, [{ label: "Logs", template: "https://logs.example/{host}" }], 0)).toEqual([]);
  });

  test("the same link of the hub and of this browser appears once, where it comes first", () => {
    const trace = { label: "Trace", template: "https://t/{trace_id}" };
    const own = [{ label: "Mine", template: "https://m/" }, trace, { label: "Trace", template: "https://other/" }];
    const runbook = { runbook: "https://wiki.example/import" };
    expect(linksFor({ ...operation, metadata: runbook }, [trace, ...own], 0)).toEqual([
      { label: "Trace", href: "https://t/4bf9" },
      { label: "Mine", href: "https://m/" },
      { label: "Trace", href: "https://other/" },
      { label: "runbook", href: "https://wiki.example/import" },
    ]);
  });

  test("addresses of the web in the metadata are links, everything else is text", () => {
    const metadata = {
      runbook: "https://wiki.example/import",
      script: "javascript:alert(1)",
      upper: "JaVaScRiPt:alert(1)//https://x",
      data: "data:text/html,<script>alert(1)</script>",
      tab: "java\tscript:alert(1)",
      relative: "//evil.example",
      userinfo: "https://hub.example@evil.example/",
      file: "file:///etc/passwd",
      number: 4,
      nested: { href: "https://x" },
    };
    expect(linksFor({ ...operation, metadata }, [], 0)).toEqual([
      { label: "runbook", href: "https://wiki.example/import" },
    ]);
  });

  test("no template can become a script", () => {
    expect(webAddress(" javascript:alert(1)")).toBeUndefined();
    expect(faultOf("javascript:{trace_id}")).toBeDefined();
    expect(faultOf("{trace_id}")).toBeDefined();
    expect(faultOf("https://x/{token}")).toBe("unknown placeholder {token}");
    expect(faultOf("https://x/{trace_id}")).toBeUndefined();
    expect(
      linksFor({ ...operation, trace_id: "javascript:alert(1)" }, [{ label: "x", template: "{trace_id}" }], 0),
    ).toEqual([]);
  });

  test("templates are written as lines and read back", () => {
    const { templates, fault } = parseTemplates("Trace = https://t/{trace_id}\n\n Runbook=https://w/a=b ");
    expect(fault).toBe("");
    expect(templates).toEqual([
      { label: "Trace", template: "https://t/{trace_id}" },
      { label: "Runbook", template: "https://w/a=b" },
    ]);
    expect(parseTemplates(templatesText(templates)).templates).toEqual(templates);
    expect(parseTemplates("Trace").fault).toContain("write a label");
    expect(parseTemplates("x = javascript:1").fault).toContain("an address begins with");
  });

  test("stored templates that are not valid are left out", () => {
    expect(readTemplates([{ label: "a", template: "javascript:1" }, 4, null, { label: "b" }])).toEqual([]);
    expect(readTemplates("x")).toEqual([]);
    expect(readTemplates(undefined)).toEqual([]);
  });
});
