/** To which protocols a route's connections may change (RFC 9110 section 7.8). */
import type { Path } from './document.ts';

/** What `upgrade: true` means, and no `upgrade` at all. */
export const WEBSOCKET_ONLY: readonly string[] = ['websocket'];

/** RFC 9110 section 7.8: a name, and a version perhaps. */
const PROTOCOL = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:\/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?$/;
/** RFC 9113 section 3.1 withdrew h2c; RFC 7230 section 6.7 had HTTP/2.0 as its example. */
const HTTP = /^(?:h2c?|h3|https?)(?:\/.*)?$/i;

export function buildUpgrades(
  upgrade: boolean | readonly string[],
  at: Path,
  tell: (at: Path, message: string) => void,
): readonly string[] {
  if (typeof upgrade === 'boolean') return upgrade ? WEBSOCKET_ONLY : [];
  upgrade.forEach((protocol, i) => {
    if (HTTP.test(protocol)) {
      // Whoever gets such a connection sends requests on it that no route, limit or log of ours has seen.
      tell([...at, i], 'is never forwarded: requests inside it would pass the proxy unseen');
    } else if (!PROTOCOL.test(protocol)) {
      tell([...at, i], "is not a protocol's name such as websocket, or NAME/VERSION");
    }
  });
  return upgrade;
}
