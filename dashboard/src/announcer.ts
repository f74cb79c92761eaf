/** What screen readers are told without being asked: at most one message in 2 s, and a count beyond that. */

import { signal } from "@preact/signals";

/** Milliseconds between two messages. */
const PAUSE_MS = 2_000;

/** Messages that are read one by one; more are counted. */
const MAX_READ = 3;

/** Text of the polite live region. */
export const announcement = signal("");

/** Text of the region for the link to the hub. */
export const linkAnnouncement = signal("");

let waiting: string[] = [];
let timer: ReturnType<typeof setTimeout> | undefined;

/** Tells screen readers a sentence. */
export function announce(sentence: string): void {
  waiting.push(sentence);
  if (timer === undefined) {
    tell();
    timer = setTimeout(tellRest, PAUSE_MS);
  }
}

function tellRest(): void {
  timer = undefined;
  if (waiting.length === 0) return;
  tell();
  timer = setTimeout(tellRest, PAUSE_MS);
}

function tell(): void {
  announcement.value = joinSentences(waiting);
  waiting = [];
}

/** Sentences as one message; those beyond the first three are counted. */
export function joinSentences(sentences: readonly string[]): string {
  const read = sentences.slice(0, MAX_READ).join(". ");
  return sentences.length > MAX_READ ? `${read}. And ${sentences.length - MAX_READ} more` : read;
}
