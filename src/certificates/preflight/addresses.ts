/** Whether a name has addresses, for those ways to show control that connect to it. */
import net from 'node:net';
import { createAddressSet } from '../../address_set.ts';
import type { Check, HostAddresses } from './context.ts';
import { failure, passed, warning } from './finding.ts';
import type { Finding } from './finding.ts';

const isPrivate = createAddressSet(['private_ranges']);
/** Inside such networks CAs are, too. */
const isLocalCa = (directoryUrl: string): boolean => {
  const { hostname } = new URL(directoryUrl);
  return (
    !hostname.includes('.') ||
    net.isIP(hostname.replace(/[[\]]/g, '')) !== 0 ||
    /\.(internal|local|lan|test)$/.test(hostname)
  );
};

export const checkAddresses: Check = async ({ hosts }, context) => {
  const { challenges } = context.acme;
  const byConnection = challenges.includes('http-01') || challenges.includes('tls-alpn-01');
  const findings = hosts.map(async (host): Promise<readonly Finding[]> => {
    if (net.isIP(host) !== 0) return [passed('dns', host, 'an address needs no DNS')];
    if (host.startsWith('*.') || !byConnection) return [passed('dns', host, 'control over it is shown in DNS alone')];
    return judgeAddresses(host, await context.addressesOf(host), isLocalCa(context.directoryUrl));
  });
  return (await Promise.all(findings)).flat();
};

/** Pure. */
export function judgeAddresses(host: string, { v4, v6 }: HostAddresses, localCa: boolean): readonly Finding[] {
  const found = [v4, v6].flatMap((answer) => (answer.kind === 'found' ? answer.values : []));
  const servfail = [v4, v6].find((answer) => answer.kind === 'servfail');
  if (found.length > 0) {
    const findings = [passed('dns', host, `it has the addresses ${found.join(', ')}`)];
    if (servfail !== undefined) findings.push(broken(host, servfail.code, 'warn'));
    const hidden = localCa ? [] : found.filter(isPrivate);
    if (hidden.length > 0) {
      findings.push(
        warning(
          'dns',
          'dns_private_address',
          host,
          `${hidden.join(', ')} cannot be reached from outside`,
          'point the public record at a public address; if this is what only insiders see, name outside servers in acme.resolvers',
        ),
      );
    }
    return findings;
  }
  if (servfail !== undefined) return [broken(host, servfail.code, 'fail')];
  const silent = [v4, v6].find((answer) => answer.kind === 'unanswered');
  if (silent !== undefined) {
    return [
      warning(
        'dns',
        'dns_unanswered',
        host,
        `no name server answered (${silent.code})`,
        "check acme.resolvers or the machine's resolv.conf; a CA asks servers of its own",
      ),
    ];
  }
  if (v4.kind === 'nxdomain') {
    return [
      failure(
        'dns',
        'dns_nxdomain',
        host,
        'the name does not exist (NXDOMAIN)',
        'create an A record (and an AAAA record, if this machine has IPv6) for it; after a change, wait for the old answer to expire',
      ),
    ];
  }
  return [
    failure('dns', 'dns_no_address', host, 'the name has neither an A nor an AAAA record', 'create an A record for it'),
  ];
}

function broken(host: string, code: string, level: 'warn' | 'fail'): Finding {
  const said = code === 'ESERVFAIL' ? 'SERVFAIL' : code.replace(/^E/, '');
  const message = `the name servers answer ${said}: its zone is broken, often by DNSSEC records that do not fit`;
  const fix = 'see what https://dnsviz.net or `dig +trace` says of the zone, and mend it where it is hosted';
  return level === 'warn'
    ? warning('dns', 'dns_servfail', host, message, fix)
    : failure('dns', 'dns_servfail', host, message, fix);
}
