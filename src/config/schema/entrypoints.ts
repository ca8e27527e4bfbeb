/** `entrypoints.NAME`: where clients connect, and how much of us one of them may have. */
import { z } from 'zod';
import { count, duration, size, sizeValue, text } from './values.ts';

/** Of a head or its first line: a CA's own request for a challenge has a line of 85 bytes and five fields, and must pass. */
const headSize = sizeValue.pipe(z.number().min(256));

export const entrypointSchema = z.strictObject({
  address: text.describe('where to listen: `:443`, `127.0.0.1:8443`, `[::1]:443`'),
  tls: z.boolean().optional().describe('whether it speaks TLS; without, the one called `https` does'),
  public_port: count(1, 65_535)
    .optional()
    .describe('what clients see behind a port mapping; without, the port of `address`'),
  proxy_protocol: z
    .boolean()
    .default(false)
    .describe('connections begin with a PROXY header, version 1 or 2, and come from `trusted_proxies` only'),
  max_connections: count(1)
    .default(10_000)
    .describe('of all proxies together, and so many that descriptors (`ulimit -n`) are left to ask workers'),
  max_connections_per_client: count(0)
    .default(0)
    .describe('of one address (IPv6: one /64), trusted proxies exempt; 0: no limit'),
  max_requests: count(0).default(0).describe('on one connection, which is closed then; 0: no limit'),
  min_rate: size(0).describe('bytes a second that a client takes or sends at least; 0: none'),
  max_header_size: headSize.prefault('16KiB').describe('of the head of a request; more is a 431'),
  max_headers: count(10, 10_000).default(100).describe('fields of a head; more are a 431'),
  max_request_line: headSize
    .optional()
    .describe('from 256 bytes to `max_header_size`, in HTTP/2 of `:path`; longer is a 414; without: 8KiB'),
  http2: z.boolean().default(true).describe('HTTP/2 over TLS'),
  max_streams: count(1, 10_000).default(100).describe('requests at once on one HTTP/2 connection'),
  timeouts: z
    .strictObject({
      headers: duration('30s').describe('for the head of a request'),
      idle: duration('75s').describe('between two requests'),
      body_idle: duration('60s').describe('while a body is received and nothing comes'),
      write_idle: duration('60s').describe('while an answer is sent and the client takes nothing'),
      tunnel_idle: duration('1h').describe('of a WebSocket on which nothing is said'),
    })
    .prefault({}),
});
