/** Upstreams somebody else runs: where they are, what they speak, and whom to trust for it. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { UpstreamConfig } from './config.ts';
import type { Path } from './document.ts';
import type { ServiceInput } from './schema.ts';

type Tell = (at: Path, message: string) => void;

const DEFAULT_PORTS: Readonly<Record<UpstreamConfig['protocol'], number>> = { http: 80, https: 443, h2c: 80, h2: 443 };

export function buildUpstreams({ upstreams }: ServiceInput, tell: Tell): UpstreamConfig[] {
  return upstreams.flatMap(({ url, weight }, i) => {
    const upstream = parseUpstream(url);
    if (upstream === null) tell(['upstreams', i], 'must be http://host:port (or https, h2c, h2), without a path');
    return upstream === null ? [] : { ...upstream, weight };
  });
}

function parseUpstream(text: string): Omit<UpstreamConfig, 'weight'> | null {
  const [, protocol, rest = ''] = /^(https?|h2c?):\/\/([^/?#@]+)$/.exec(text) ?? [];
  if (!isProtocol(protocol) || !URL.canParse(`http://${rest}`)) return null;
  const { hostname } = new URL(`http://${rest}`);
  // A URL forgets a port that is its scheme's own.
  const port = /:(\d+)$/.exec(rest)?.[1];
  if (port === '0') return null;
  return {
    protocol,
    url: text,
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === undefined ? DEFAULT_PORTS[protocol] : Number(port),
  };
}

function isProtocol(text: string | undefined): text is UpstreamConfig['protocol'] {
  return text !== undefined && Object.hasOwn(DEFAULT_PORTS, text);
}

/** Joined PEM of the files; null when none is named. */
export function readRoots({ tls }: ServiceInput, base: string, tell: Tell): string | null {
  const texts = tls.trusted_roots.map((file, i) => {
    try {
      const text = readFileSync(path.resolve(base, file), 'utf8');
      if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
      tell(['tls', 'trusted_roots', i], 'has no certificate in PEM');
    } catch {
      tell(['tls', 'trusted_roots', i], `the file ${path.resolve(base, file)} cannot be read`);
    }
    return '';
  });
  return texts.length === 0 ? null : texts.join('\n');
}
