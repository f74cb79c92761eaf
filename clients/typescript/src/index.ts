/** A client for tidings hubs: https://github.com/tidings/tidings */
export const PROTOCOL = "tidings.v1";
