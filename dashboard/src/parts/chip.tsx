/** A filter that is set, with a button that removes it. */

import type { JSX } from "preact";
import { Icon } from "./icon.tsx";

/** Properties of {@link Chip}. */
export interface ChipProps {
  /** What is filtered by: `name`. */
  readonly label: string;
  readonly value: string;
  readonly onRemove: () => void;
}

/** A chip: `name: Import prices ×`. */
export function Chip({ label, value, onRemove }: ChipProps): JSX.Element {
  return (
    <span class="chip">
      <span class="three">{label}</span> <span class="cut">{value}</span>
      <button
        type="button"
        aria-label={`Remove the filter ${label}: ${value}`}
        title="Remove this filter"
        onClick={onRemove}
      >
        <Icon name="close" />
      </button>
    </span>
  );
}
