/** The certificate of a finished order, with the chain that ends where the configuration wants it to. */
import { X509Certificate } from 'node:crypto';
import { OrderError } from './errors.ts';
import type { AcmeSession } from './session.ts';
import { splitChain } from '../certificate.ts';
import type { Logger } from '../../log.ts';

/** PEM, leaf first. `preferred`: common name of the root; when no chain ends there, the CA's default is taken. */
export async function downloadChain(
  session: AcmeSession,
  url: string,
  preferred: string | null,
  log: Logger,
): Promise<string> {
  const answer = await session.post(url, null);
  const chain = textOf(answer.data);
  if (preferred === null || rootOf(chain) === preferred) return chain;
  const offered = [rootOf(chain)];
  for (const alternate of alternatesIn(answer.headers['link'] ?? '')) {
    const other = textOf((await session.post(new URL(alternate, url).href, null)).data);
    if (rootOf(other) === preferred) return other;
    offered.push(rootOf(other));
  }
  log.warn('preferred_chain_unknown', { preferred, offered: offered.filter((it) => it !== null) });
  return chain;
}

function textOf(data: unknown): string {
  if (typeof data === 'string') return data;
  throw new OrderError('rejected', 'what the CA gives for a certificate is none', {});
}

/** Who issued the last certificate of a chain: CAs leave the root itself out. */
export function rootOf(chain: string): string | null {
  try {
    const last = splitChain(chain).at(-1);
    if (last === undefined) return null;
    return /^CN=(.*)$/m.exec(new X509Certificate(last).issuer)?.[1] ?? null;
  } catch {
    return null;
  }
}

/** RFC 8288, as RFC 8555 section 7.4.2 uses it. */
export function alternatesIn(link: string): readonly string[] {
  return link.split(/,\s*(?=<)/).flatMap((part) => {
    const match = /^\s*<([^>]*)>(.*)$/.exec(part);
    return match?.[1] !== undefined && /;\s*rel="?alternate"?/i.test(match[2] ?? '') ? match[1] : [];
  });
}
