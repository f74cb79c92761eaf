/** The menu for how the page looks and how times are written. */

import type { JSX } from "preact";
import { Icon } from "../parts/icon.tsx";
import { Menu, type MenuItem } from "../parts/menu.tsx";
import { ages, letterKeys, type Theme, theme, zone } from "../settings.ts";
import { isHelpOpen } from "./help.tsx";

const THEMES: Readonly<Record<Theme, string>> = {
  system: "Colours of the system",
  light: "Light colours",
  dark: "Dark colours",
};

/** The button with the menu. */
export function SettingsMenu(): JSX.Element {
  const choices = Object.entries(THEMES).map(
    ([name, label]): MenuItem => ({
      label,
      isChosen: theme.value === name,
      run: () => {
        theme.value = name as Theme;
      },
    }),
  );
  const items: readonly (MenuItem | null)[] = [
    ...choices,
    null,
    choice("Times in this computer’s zone", zone, "local"),
    choice("Times in UTC", zone, "utc"),
    null,
    choice("Times as ages: 12 min ago", ages, "relative"),
    choice("Times of day: 02:14:31", ages, "absolute"),
    null,
    choice("Letters are commands", letterKeys, !letterKeys.value, letterKeys.value),
    {
      label: "All keys",
      run: () => {
        isHelpOpen.value = true;
      },
    },
  ];
  return (
    <Menu label="Settings: colours, times, keys" class="btn plain square" items={items}>
      <Icon name="settings" />
    </Menu>
  );
}

function choice<T>(label: string, at: { value: T }, value: T, isChosen = at.value === value): MenuItem {
  return {
    label,
    isChosen,
    run: () => {
      at.value = value;
    },
  };
}
