/** The top of every page: where the reader is, where they can go, and how the link to the hub is. */

import type { JSX } from "preact";
import { useLocation } from "wouter-preact";
import { attentionCount } from "../attention.ts";
import { Icon, type IconName } from "../parts/icon.tsx";
import { Go, hrefOf, PATHS, type PageName } from "../router.tsx";
import { Account } from "./account.tsx";
import { Link } from "./link.tsx";
import { SettingsMenu } from "./settings-menu.tsx";

interface Entry {
  readonly page: PageName;
  readonly label: string;
  readonly icon: IconName;
  /** Pages that belong to this entry. */
  readonly within: readonly PageName[];
}

const ENTRIES: readonly Entry[] = [
  { page: "operations", label: "Operations", icon: "list", within: ["operation", "log"] },
  { page: "names", label: "Names", icon: "names", within: ["name"] },
  { page: "events", label: "Events", icon: "events", within: ["trace"] },
  { page: "system", label: "System", icon: "system", within: [] },
];

/** The top of the page. */
export function Header(): JSX.Element {
  const [path] = useLocation();
  return (
    <header class="top">
      <Go class="brand" href={hrefOf("operations")}>
        tidings
      </Go>
      <span class="hub cut">{location.host}</span>
      <nav class="nav" aria-label="Pages">
        {ENTRIES.map((entry) => {
          const isHere = path === PATHS[entry.page];
          const isWithin = entry.within.some((page) => path === PATHS[page]);
          return (
            <Go
              key={entry.page}
              href={hrefOf(entry.page)}
              aria-current={isHere ? "page" : isWithin ? "true" : undefined}
            >
              <Icon name={entry.icon} />
              {entry.label}
              {entry.page === "operations" ? <AttentionCount /> : null}
            </Go>
          );
        })}
      </nav>
      <span class="grow" />
      <Link />
      <Account />
      <SettingsMenu />
    </header>
  );
}

function AttentionCount(): JSX.Element | null {
  const count = attentionCount.value;
  if (count === 0) return null;
  return (
    <span class="count bad">
      {count}
      <span class="sr"> need attention</span>
    </span>
  );
}
