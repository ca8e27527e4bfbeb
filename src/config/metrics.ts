/** Where metrics, health and the dashboard are to be had, and by whom. */
import { parseAddress } from './checks.ts';
import type { EntrypointConfig, MetricsConfig } from './config.ts';
import type { Path, Problem, SourceDocument } from './document.ts';
import type { Sections } from './schema.ts';
import { readSecret } from './services.ts';
import { isLoopback } from '../address.ts';

/** A shorter token is one that can be guessed. */
const MIN_TOKEN = 16;

export function buildMetrics(
  document: SourceDocument,
  metrics: Sections['metrics'],
  entrypoints: readonly EntrypointConfig[],
  base: string,
  problems: Problem[],
): MetricsConfig | null {
  if (metrics === 'off') return null;
  const tell = (at: Path, message: string): void => void problems.push(document.problem(['metrics', ...at], message));
  const address = parseAddress(metrics.address);
  if (address === null) {
    tell(['address'], 'is not an address such as "127.0.0.1:9180", "[::1]:9180" or ":9180"');
    return null;
  }
  const { host, port } = address;
  const taken = entrypoints.find(
    (other) => other.port === port && port !== 0 && (other.host === host || other.host === null || host === null),
  );
  if (taken !== undefined) tell(['address'], `is the address of entrypoint ${taken.name} too`);
  let unreadable = false;
  const token = metrics.token === undefined ? null : readSecret(metrics.token, base, () => (unreadable = true));
  if (token === null && !isLoopback(host)) {
    tell(
      ['address'],
      'others can reach it: give a "token", or an address such as 127.0.0.1 that only this machine can',
    );
  }
  if (unreadable) tell(['token'], 'the file it names cannot be read');
  else if (token !== null && (token.length < MIN_TOKEN || !/^[\x21-\x7e]+$/.test(token))) {
    tell(['token'], `must be at least ${MIN_TOKEN} visible characters of ASCII`);
  }
  return { host, port, token };
}
