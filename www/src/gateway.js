// What a server's name says of where it is reached: made of a key, it may end with the domain of a gateway to ordinary Matrix.

const MADE_OF_A_KEY = /^[a-z2-7]{52}(?:\.(.+))?$/;

/** @returns {string|null|undefined} the gateway's domain; null for a name of a key alone, undefined for one that is made of none */
export function gatewayOf(serverName) {
  const parts = MADE_OF_A_KEY.exec(serverName);
  return parts ? (parts[1] ?? null) : undefined;
}
