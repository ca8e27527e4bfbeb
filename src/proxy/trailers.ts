/** Field lines behind a body, whoever sends them: what they say must not change how the message is understood. */
import { FIELD_VALUE, TOKEN } from './http1/chars.ts';

/** Bytes of one message. */
export const MAX_TRAILERS = 8 * 1024;

/**
 * RFC 9110 section 6.5.1: what frames, routes, authenticates, modifies, caches or describes a message is of no use when it
 * comes last, and does harm where trailers are merged into the head. Digests are what trailers are for (RFC 9530).
 */
const OF_THE_HEAD = new RegExp(
  `^(?:${[
    'connection|keep-alive|proxy|proxy-.*|te|trailer|transfer-encoding|upgrade|http2-settings|via',
    'content-(?!digest$).*|host|expect|max-forwards|range|if-.*|accept(?:-.*)?|origin|referer|user-agent',
    'forwarded|x-forwarded-.*|x-real-ip|x-request-id|traceparent|tracestate|x-original-.*|x-rewrite-.*|x-http-method.*|x-method-override',
    'authorization|authentication-.*|www-authenticate|cookie|set-cookie',
    'cache-control|pragma|age|date|expires|vary|warning|location|refresh|retry-after|access-control-.*',
    'strict-transport-security|alt-svc',
  ].join('|')})$`,
);

/** Whether a field may come after the body; `name` is in lower case. */
export function mayBeTrailer(name: string): boolean {
  return !OF_THE_HEAD.test(name);
}

/** A field line, or null when it could not stand in a head either. */
export function fieldLine(name: string, value: string): string | null {
  if (name === '' || !consistsOf(name, TOKEN) || !consistsOf(value, FIELD_VALUE)) return null;
  return `${name}: ${value.replace(/^[ \t]+|[ \t]+$/g, '')}\r\n`;
}

function consistsOf(text: string, table: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) if ((table[text.charCodeAt(i)] ?? 0) === 0) return false;
  return true;
}
