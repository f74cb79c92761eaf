/**
 * Links to other systems (a trace viewer, a log search, a runbook), made from templates such as
 * `https://grafana.example/trace/{trace_id}`. Only http and https addresses become links; everything else stays text.
 */

import type { Row } from "../../format/row.ts";

export interface LinkTemplate {
  readonly label: string;
  readonly template: string;
}

export interface Link {
  readonly label: string;
  readonly href: string;
}

/** What may stand in braces, with where it comes from. */
export const PLACEHOLDERS = [
  "operation_id",
  "name",
  "trace_id",
  "host",
  "producer_id",
  "state",
  "attempt",
  "started_ms",
  "ended_ms",
  "code",
] as const;

type Placeholder = (typeof PLACEHOLDERS)[number];

/** Longest address, and most templates, that are kept. */
const MAX_CHARS = 4_000;
const MAX_TEMPLATES = 20;

/**
 * The links of an operation: of templates, in their order, and then of addresses in its metadata. A template with a
 * placeholder whose value is unknown makes none, and the same link appears once.
 */
export function linksFor(operation: Row, templates: readonly LinkTemplate[], now: number): readonly Link[] {
  const links: Link[] = [];
  const add = (label: string, href: string | undefined) => {
    if (href === undefined || links.some((each) => each.label === label && each.href === href)) return;
    links.push({ label, href });
  };
  for (const { label, template } of templates) {
    const address = fillIn(template, (name) => placeholderValue(operation, name, now));
    add(label, address === undefined ? undefined : webAddress(address));
  }
  for (const [label, value] of Object.entries(operation.metadata ?? {})) {
    add(label, typeof value === "string" ? webAddress(value) : undefined);
  }
  return links;
}

/** An address if it is one of the web: `javascript:`, `data:` and relative ones are not. */
export function webAddress(text: string): string | undefined {
  if (text.length > MAX_CHARS || !/^https?:\/\//i.test(text)) return undefined;
  try {
    const url = new URL(text);
    return (url.protocol === "https:" || url.protocol === "http:") && url.username === "" ? url.href : undefined;
  } catch {
    return undefined;
  }
}

/** A template with its values, each percent-encoded; undefined if one is unknown. */
function fillIn(template: string, value: (name: Placeholder) => string | undefined): string | undefined {
  let isComplete = true;
  const filled = template.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const known = PLACEHOLDERS.find((each) => each === name);
    const found = known === undefined ? undefined : value(known);
    if (found === undefined || found === "") isComplete = false;
    return found === undefined ? whole : encodeURIComponent(found);
  });
  return isComplete ? filled : undefined;
}

function placeholderValue(operation: Row, name: Placeholder, now: number): string | undefined {
  switch (name) {
    case "started_ms":
      return millis(operation.started_at ?? operation.queued_at);
    case "ended_ms":
      return operation.ended_at === undefined ? String(Math.round(now)) : millis(operation.ended_at);
    case "code":
      return operation.error?.code;
    case "attempt":
      return String(operation.attempt);
    default:
      return operation[name];
  }
}

function millis(time: string | undefined): string | undefined {
  const at = Date.parse(time ?? "");
  return Number.isNaN(at) ? undefined : String(at);
}

/** Why a template is not usable; undefined if it is. */
export function faultOf(template: string): string | undefined {
  const unknown = [...template.matchAll(/\{(\w*)\}/g)].find((match) => !PLACEHOLDERS.some((each) => each === match[1]));
  if (unknown !== undefined) return `unknown placeholder ${unknown[0]}`;
  return webAddress(template.replace(/\{\w+\}/g, "x")) === undefined
    ? "an address begins with https:// or http://"
    : undefined;
}

/** The templates that JSON holds, of this browser's storage or of the hub. */
export function readTemplates(json: unknown): readonly LinkTemplate[] {
  if (!Array.isArray(json)) return [];
  return json
    .filter((each): each is LinkTemplate => typeof each?.label === "string" && typeof each?.template === "string")
    .filter(({ template }) => faultOf(template) === undefined)
    .slice(0, MAX_TEMPLATES)
    .map(({ label, template }) => ({ label, template }));
}

/** Templates as lines of text, `Label = https://…`. */
export function templatesText(templates: readonly LinkTemplate[]): string {
  return templates.map(({ label, template }) => `${label} = ${template}`).join("\n");
}

/** The templates in lines of text, or the first fault in them. */
export function parseTemplates(text: string): { readonly templates: readonly LinkTemplate[]; readonly fault: string } {
  const templates: LinkTemplate[] = [];
  for (const line of text.split("\n").map((each) => each.trim())) {
    if (line === "") continue;
    const [, label = "", template = ""] = /^([^=]*?)\s*=\s*(.*)$/.exec(line) ?? [];
    const fault = label === "" ? "write a label, an equals sign and an address" : faultOf(template);
    if (fault !== undefined) return { templates: [], fault: `${line.slice(0, 60)}: ${fault}` };
    templates.push({ label, template });
  }
  const fault = templates.length > MAX_TEMPLATES ? `at most ${MAX_TEMPLATES} links` : "";
  return { templates, fault };
}
