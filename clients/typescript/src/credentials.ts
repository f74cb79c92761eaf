/** The token of a client: one for its connections and its requests. */
import type { Environment } from "./environment.ts";
import { ConfigError, SignedOutError, TokenUnavailableError } from "./errors.ts";
import type { TokenSupplier } from "./options.ts";

/** Time, in milliseconds, that a supplier gets: less than the 10 s in which a hub waits for a token. */
const SUPPLIER_MS = 8_000;
const FUNCTION = "the function passed as `token`";

export class Credentials {
  /** Null: the client has signed out. */
  #source: string | TokenSupplier | null | undefined;
  #token: string | undefined;
  #pending: Promise<string | undefined> | undefined;
  readonly #environment: Pick<Environment, "later">;

  constructor(source: string | TokenSupplier | undefined, environment: Pick<Environment, "later">) {
    this.#environment = environment;
    if (source !== undefined) this.replace(source);
  }

  /** Whether another token may come later. */
  get renewable(): boolean {
    return typeof this.#source === "function";
  }

  /** Use another token, or none: then every call of `get` throws `SignedOutError`. */
  replace(source?: string | TokenSupplier): void {
    if (typeof source === "string") checkToken(source);
    this.#source = source ?? null;
    this.#token = this.#pending = undefined;
  }

  /**
   * Return the token for a request; undefined if the client has none.
   *
   * @param unlike - Not this one: the hub has refused it.
   * @throws {@link SignedOutError} when the supplier has none left, {@link TokenUnavailableError} when the supplier throws.
   */
  async get(unlike?: string): Promise<string | undefined> {
    return this.#token !== undefined && this.#token !== unlike ? this.#token : this.renew();
  }

  /** Return the token that the source has now, as `get`; a supplier is asked once for all who wait. */
  async renew(): Promise<string | undefined> {
    if (this.#source === null) throw new SignedOutError();
    if (typeof this.#source !== "function") return this.#source;
    this.#pending ??= this.#ask(this.#source);
    return this.#pending;
  }

  async #ask(supplier: TokenSupplier): Promise<string | undefined> {
    let cancel = (): void => {};
    const late = new Promise<never>((_, reject) => {
      cancel = this.#environment.later(SUPPLIER_MS, () =>
        reject(new TokenUnavailableError(`${FUNCTION} has not answered in time`)),
      );
    });
    try {
      const token = await Promise.race([Promise.resolve().then(supplier), late]); // also catches a supplier that throws before it returns a promise
      if (supplier !== this.#source) return await this.renew(); // replaced while it was called
      if (token === null || token === undefined) throw new SignedOutError();
      this.#token = checkToken(token);
      return this.#token;
    } catch (error) {
      if (error instanceof SignedOutError || error instanceof TokenUnavailableError) throw error;
      // The text of the error may hold the token.
      const fault = error instanceof ConfigError ? "returned an invalid token" : "threw an error";
      throw new TokenUnavailableError(`${FUNCTION} ${fault}`);
    } finally {
      cancel();
      if (supplier === this.#source) this.#pending = undefined;
    }
  }
}

/** Return `token` if it can be sent; it is not part of the error, which others may read. */
function checkToken(token: string): string {
  if (typeof token !== "string" || !/^[\x21-\x7e]{1,16384}$/.test(token)) {
    throw new ConfigError("invalid token: expected printable ASCII without spaces", "Pass it as it was issued.");
  }
  return token;
}
