/** Which bytes may stand where in a head (RFC 9110 section 5.6.2, RFC 9112, RFC 3986), as tables by byte. */

const ALPHANUMERIC = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** 1 where a field name or method may have the byte; 2 for the two that some servers turn into `-` or split at. */
export const TOKEN = table(`!#$%&'*+-^\`|~${ALPHANUMERIC}`);
TOKEN[0x5f] = 2;
TOKEN[0x2e] = 2;

/** Tab, space, visible ASCII and obs-text. */
export const FIELD_VALUE = new Uint8Array(256).fill(1, 0x20, 0x7f).fill(1, 0x80);
FIELD_VALUE[0x09] = 1;

/**
 * Request targets: RFC 3986 and the `^{|}` and backtick that browsers leave unescaped. Not `#` (a fragment is never
 * sent), `\` (some servers take it for `/`), `"<>`, nor anything beyond ASCII.
 */
export const TARGET = table(`!$&'()*+,-./:;=?@[]_~^{|}\`${ALPHANUMERIC}`);

/** Registered names as they are met in practice: letters, digits, `-`, `_` and dots. */
export const HOST = table(`-._${ALPHANUMERIC}`);

/** The digit's value + 1; 0 for what is no hexadecimal digit. */
export const HEX = new Uint8Array(256);
for (let value = 0; value < 16; value++) {
  HEX[value.toString(16).charCodeAt(0)] = value + 1;
  HEX[value.toString(16).toUpperCase().charCodeAt(0)] = value + 1;
}

function table(chars: string): Uint8Array {
  const out = new Uint8Array(256);
  for (const char of chars) out[char.charCodeAt(0)] = 1;
  return out;
}
