/** Text from events, made fit to be shown in one line as text. */

/**
 * Control characters, ends of lines, and what is not seen or reorders what is (Unicode, "Default_Ignorable_Code_Point"),
 * without the joiners and selectors of which scripts and emoji are made.
 */
const UNPRINTABLE = /(?:[\p{Cc}\p{Zl}\p{Zp}]|(?!\p{Join_C}|\p{VS})\p{DI})+/gu;

/** Text in one line, without control characters or marks that reorder it. */
export function plain(text: string | undefined | null): string {
  return text === undefined || text === null ? "" : text.replace(UNPRINTABLE, " ").trim();
}

/** Characters of a name that are always shown. */
export const MIN_NAME_CHARS = 24;

const NAME_END_CHARS = 10;

/**
 * A name in two parts: the beginning, which may be cut where space is short, and the end, which stays, because names
 * of a family differ there. Names of up to 24 characters have no second part and are never cut.
 */
export function splitName(name: string): readonly [string, string] {
  const chars = Array.from(name);
  if (chars.length <= MIN_NAME_CHARS) return [name, ""];
  return [chars.slice(0, -NAME_END_CHARS).join(""), chars.slice(-NAME_END_CHARS).join("")];
}

/** An error's message as a sentence: with a capital letter and a full stop; empty stays empty. */
export function toSentence(message: string | undefined | null): string {
  const text = plain(message);
  if (text === "") return "";
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?…]$/.test(text) ? "" : "."}`;
}
