/** What the contract of the hub says about its events: channels, types, and which member of each is its key. Pure. */

import type { KeyFields } from "./filter.ts";

/** The contract, as far as the pages need it. */
export interface EventContract {
  readonly channels: readonly string[];
  /** Types of events that the log may hold. */
  readonly types: readonly string[];
  readonly keys: KeyFields;
}

/** Answer of `GET /v1/contract.json`, as far as the pages need it. */
export interface ContractAnswer {
  readonly channels: readonly string[];
  readonly events: readonly {
    readonly type: string;
    readonly channel?: string | null;
    readonly key?: string | null;
    readonly class?: string;
  }[];
}

/** Read an answer of `GET /v1/contract.json`. */
export function readContract(answer: ContractAnswer): EventContract {
  const logged = answer.events.filter((event) => event.class !== "direct");
  return {
    channels: answer.channels,
    types: logged.map((event) => event.type),
    keys: new Map(logged.flatMap(({ type, key }) => (key ? [[type, key] as const] : []))),
  };
}
