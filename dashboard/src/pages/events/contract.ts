/** Loads the contract of the hub. */

import { hub } from "../../hub.ts";
import { type ContractAnswer, type EventContract, readContract } from "./contract-model.ts";

/** Load the contract. */
export async function loadContract(signal: AbortSignal): Promise<EventContract> {
  return readContract(await hub.request<ContractAnswer>("v1/contract.json", { signal }));
}
