// The gateway to ordinary Matrix: chosen when the server is made, and what it means before and after.
import { gatewayOf } from "../gateway.js";

/** Either way it says what follows from it. */
export function GatewayChoice({ domain, taken, take, disabled }) {
  return (
    <div class="stack tight" data-testid="gateway-choice">
      <label class="switch">
        <input type="checkbox" data-testid="gateway-taken" checked={taken} disabled={disabled} aria-describedby="gateway-words" onChange={({ target }) => take(target.checked)} />
        <span>Anyone on Matrix can reach me</span>
      </label>
      <p id="gateway-words" class="quiet breakable" data-testid="gateway-words">
        {taken ? (
          <>People with an ordinary Matrix account find you and write to you through the gateway <b>{domain}</b>. Its operator answers for your name to them. The gateway is part of your address, for ever.</>
        ) : (
          <>Only people with a server like this one can: whom you invite by a link gets one. This cannot be changed later.</>
        )}
      </p>
    </div>
  );
}

/** The same as it has become, for "your server". */
export function GatewayFact({ serverName }) {
  const domain = gatewayOf(serverName);
  if (domain === undefined) return null;
  return (
    <div data-testid="gateway" data-domain={domain ?? ""}>
      <dt>Gateway</dt>
      <dd class="breakable">
        {domain ?? "None"}
        <p class="quiet">
          {domain
            ? "People on ordinary Matrix find you and write to you through it. Its operator answers for your name to them."
            : "Only people with a server like this one can reach you."}{" "}
          This was chosen when your server was made, and stays.
        </p>
      </dd>
    </div>
  );
}

/** What a relay's being a gateway means for this server. */
export function gatewayInWords(domain, serverName) {
  if (domain === gatewayOf(serverName)) return `Your gateway, ${domain}: people on ordinary Matrix reach you through it.`;
  return `A gateway for servers that were named below ${domain} when they were made. Yours was not.`;
}

/** A server whose own gateway is none of its relays is out of reach for ordinary Matrix. */
export function LostGateway({ serverName, relays }) {
  const domain = gatewayOf(serverName);
  const isLost = domain && relays.length > 0 && relays.every(({ limits }) => limits && limits.gateway !== domain);
  if (!isLost) return null;
  return <p class="muted" role="status" data-testid="gateway-lost">Your gateway, {domain}, is none of these relays: people on ordinary Matrix cannot reach you until it is.</p>;
}
