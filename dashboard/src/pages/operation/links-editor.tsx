/** Where this browser keeps its links to other systems, and how they are changed. */

import { computed, type ReadonlySignal, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useId } from "preact/hooks";
import { type Floating, Popup } from "../../parts/popup.tsx";
import { whoami } from "../../session.ts";
import { setting } from "../../settings.ts";
import { type LinkTemplate, PLACEHOLDERS, parseTemplates, readTemplates, templatesText } from "./link-templates.ts";

/** The templates of this browser, for all operations of this hub. */
export const ownTemplates = setting("links", readTemplates);

/** The templates of the hub's operator. */
const hubTemplates: ReadonlySignal<readonly LinkTemplate[]> = computed(() => readTemplates(whoami.value?.links));

/** All templates: those of the hub, then those of this browser. */
export const linkTemplates: ReadonlySignal<readonly LinkTemplate[]> = computed(() => [
  ...hubTemplates.value,
  ...ownTemplates.value,
]);

/** A field with one link on each line. */
export function LinkEditor({ at }: { readonly at: Floating }): JSX.Element {
  return (
    <Popup open={at.open} anchor={at.anchor} class="confirm links-editor" label="Links to other systems" role="dialog">
      <Form at={at} />
    </Popup>
  );
}

function Form({ at }: { readonly at: Floating }): JSX.Element {
  const field = useId();
  const text = useSignal(templatesText(ownTemplates.peek()));
  const fault = useSignal("");
  const save = (event: Event) => {
    event.preventDefault();
    const parsed = parseTemplates(text.value);
    fault.value = parsed.fault;
    if (parsed.fault !== "") return;
    ownTemplates.value = parsed.templates;
    at.open.value = false;
  };
  return (
    <form onSubmit={save}>
      <h2>Links to other systems</h2>
      <p>
        One on each line, for all operations; this browser keeps them. In braces:{" "}
        {PLACEHOLDERS.map((name) => `{${name}}`).join(", ")}.
        {hubTemplates.value.length === 0 ? "" : " The hub’s own links stand before them."}
      </p>
      <label for={field}>Label = address</label>
      <textarea
        id={field}
        rows={5}
        spellcheck={false}
        placeholder="Trace = https://traces.example.org/{trace_id}"
        value={text}
        aria-invalid={fault.value !== ""}
        onInput={(event) => {
          text.value = event.currentTarget.value;
        }}
      />
      {fault.value === "" ? null : (
        <p class="say-failed" role="alert">
          {fault}
        </p>
      )}
      <div class="acts">
        <button
          type="button"
          class="btn"
          onClick={() => {
            at.open.value = false;
          }}
        >
          Change nothing
        </button>
        <button type="submit" class="btn ink">
          Save the links
        </button>
      </div>
    </form>
  );
}
