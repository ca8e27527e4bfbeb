/** Whether a CA issues for such names at all, and for so many. The configuration's own checks come first; this says so. */
import net from 'node:net';
import type { Check } from './context.ts';
import { failure, passed } from './finding.ts';
import type { Finding } from './finding.ts';
import { isInternalHost, normalizeHost } from '../../config/hosts.ts';

/** Let's Encrypt's profiles; all others take 100. */
const MOST_NAMES: Readonly<Record<string, number>> = { tlsserver: 25, shortlived: 25 };
const MOST_OTHERWISE = 100;

export const checkNames: Check = ({ name, hosts }, { acme, issuer }) => {
  const findings: Finding[] = [];
  for (const host of hosts) {
    const reason = whyNot(host, acme.challenges);
    if (reason !== null) {
      findings.push(failure('names', 'name_not_issuable', host, reason[0], reason[1]));
    }
  }
  const most = MOST_NAMES[issuer.profile ?? ''] ?? MOST_OTHERWISE;
  if (hosts.length > most) {
    const by = issuer.profile === null ? '' : ` by the profile ${issuer.profile}`;
    findings.push(
      failure(
        'names',
        'too_many_names',
        name,
        `the certificate would have ${hosts.length} names; a CA takes at most ${most}${by}`,
        'make several sites of this one',
      ),
    );
  }
  const well = `${hosts.length === 1 ? 'the name is' : `all ${hosts.length} names are`} such as CAs issue for`;
  return Promise.resolve(findings.length > 0 ? findings : [passed('names', name, well)]);
};

/** The reason and the fix; null: a CA may issue for it. */
function whyNot(host: string, challenges: readonly string[]): readonly [string, string] | null {
  const bare = host.replace(/^\*\./, '');
  if (normalizeHost(host) !== host) return ['it is no host name', 'correct the name'];
  if (isInternalHost(host)) {
    return ['no public CA issues for names and addresses of inner networks', 'use tls: internal for this site'];
  }
  if (bare.includes('_')) return ['no public CA issues for a name with an underscore', 'use a name without one'];
  const byDns = challenges.includes('dns-01') || challenges.includes('dns-persist-01');
  const byConnection = challenges.includes('http-01') || challenges.includes('tls-alpn-01');
  if (host.startsWith('*.') && !byDns)
    return ['a wildcard needs dns-01', 'add dns-01 to acme.challenges, with acme.dns'];
  if (net.isIP(host) !== 0 && !byConnection) {
    return ['control over an address is not shown in DNS', 'add http-01 or tls-alpn-01 to acme.challenges'];
  }
  return null;
}
