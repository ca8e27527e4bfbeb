/** What sites ask to be done with heads: names and values that may be written as they are. */
import type { SiteConfig } from './config.ts';
import type { Path } from './document.ts';
import type { SiteInput } from './schema.ts';

type Tell = (at: Path, message: string) => void;

/** RFC 9110 section 5.1. */
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 9110 section 5.5, without obs-text: bytes that mean different things to different readers. */
const VALUE = /^[\t\x20-\x7e]*$/;
/** These frame the message or belong to the connection: the proxy writes them itself. */
const RESERVED =
  /^(?:connection|content-length|transfer-encoding|upgrade|te|trailer|keep-alive|proxy-connection|x-forwarded-.*|forwarded)$/i;

export function buildHeaders({ headers }: SiteInput, tell: Tell): SiteConfig['headers'] {
  for (const side of ['request', 'response'] as const) {
    const { set, remove } = headers[side];
    const checkName = (name: string, at: Path): void => {
      if (!NAME.test(name)) tell(at, 'is not a header name');
      else if (RESERVED.test(name) || (side === 'response' && /^host$/i.test(name))) {
        tell(at, 'is written by the proxy itself and cannot be changed');
      }
    };
    for (const [name, value] of Object.entries(set)) {
      checkName(name, ['headers', side, 'set', name]);
      if (!VALUE.test(value) || value !== value.trim()) {
        tell(['headers', side, 'set', name], 'is not a header value: printable ASCII, no blanks at its ends');
      }
    }
    remove.forEach((name, i) => {
      checkName(name, ['headers', side, 'remove', i]);
      if (/^host$/i.test(name)) tell(['headers', side, 'remove', i], 'every request has a Host; set another instead');
    });
  }
  return headers;
}

export function buildHsts({ hsts }: SiteInput): SiteConfig['hsts'] {
  return {
    maxAgeSeconds: hsts === undefined ? null : Math.floor(hsts.max_age / 1000),
    includeSubdomains: hsts?.include_subdomains ?? false,
    preload: hsts?.preload ?? false,
  };
}

/** `{uri}` and `{rest}` may follow the host, never name it. */
export function isRedirectTarget(to: string): boolean {
  const host = /^https?:\/\/[^/?#{}]+/.exec(to)?.[0];
  if (host === undefined || !/^[\x21-\x7e]+$/.test(to) || /["<>\\^`]/.test(to)) return false;
  const literal = to.replaceAll('{uri}', '/').replaceAll('{rest}', '/');
  // {uri} brings its own slash, {rest} must come after one.
  const afterHost = to.slice(host.length);
  return URL.canParse(literal) && !/[{}]/.test(literal) && (afterHost === '' || /^(?:[/?#]|\{uri\})/.test(afterHost));
}
