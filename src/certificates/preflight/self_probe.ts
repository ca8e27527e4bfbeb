/** Whether whoever the world finds under a name is us: each address is asked for something only we can answer. */
import net from 'node:net';
import { createAddressSet } from '../../address_set.ts';
import { fetchChallenge } from './challenge_fetch.ts';
import type { FetchOutcome } from './challenge_fetch.ts';
import type { Check, CheckContext } from './context.ts';
import { failure, passed, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import type { Answer } from './resolver.ts';
import { withoutTokens } from '../trial.ts';

const isPrivate = createAddressSet(['private_ranges']);
const isLoopback = createAddressSet(['127.0.0.0/8', '::1']);

export const checkSelfProbe: Check = async ({ hosts }, context) => {
  const { acme, ports, limit, signal } = context;
  if (!acme.challenges.includes('http-01')) {
    return [passed('self_probe', hosts[0] ?? '', 'http-01 is not among the challenges: nothing is asked by HTTP')];
  }
  if (ports.http === null) return [];
  // Not in turn: whoever follows a redirect has its turn already.
  const resolve = async (host: string): Promise<readonly string[]> => {
    const [v6, v4] = await Promise.all([context.resolver.addresses6(host), context.resolver.addresses4(host)]);
    return found([v6, v4]);
  };
  const findings: Finding[] = [];
  if (ports.http !== 80) {
    findings.push(
      warning(
        'self_probe',
        'port_not_80',
        `port ${ports.http}`,
        `a public CA asks port 80, and the entrypoint without TLS is reached by port ${ports.http}`,
        'listen on port 80, or forward it to this port and say so with public_port: 80',
      ),
    );
  }
  const asked = hosts
    .filter((host) => !host.startsWith('*.'))
    .map(async (host) => {
      const addresses = await addressesToAsk(host, context);
      return Promise.all(
        addresses.map((address) =>
          limit(async () => {
            const { token, value } = await context.probe();
            const outcome = await fetchChallenge({ host, address, token, value, ports, resolve, signal });
            const finding = judgeProbe(host, address, outcome, standpoint(context));
            return { ...finding, message: withoutTokens(finding.message) };
          }),
        ),
      );
    });
  return [...findings, ...(await Promise.all(asked)).flat()];
};

/** IPv6 first, as CAs do. */
async function addressesToAsk(host: string, context: CheckContext): Promise<readonly string[]> {
  if (net.isIP(host) !== 0) return [host];
  const { v4, v6 } = await context.addressesOf(host);
  return found([v6, v4]);
}

function found(answers: readonly Answer<string>[]): string[] {
  return answers.flatMap((answer) => (answer.kind === 'found' ? answer.values : []));
}

/** What is known of where we are. */
export interface Standpoint {
  readonly localAddresses: readonly string[];
  readonly publicAddresses: readonly string[];
  readonly byTlsAlpn: boolean;
}

function standpoint({ localAddresses, acme }: CheckContext): Standpoint {
  const { publicAddresses, challenges } = acme;
  return { localAddresses, publicAddresses, byTlsAlpn: challenges.includes('tls-alpn-01') };
}

/** What the answer from one address means: pure. */
export function judgeProbe(host: string, address: string, outcome: FetchOutcome, at: Standpoint): Finding {
  const subject = `${host} at ${address}`;
  const isLocal = at.localAddresses.includes(address) || isLoopback(address);
  const isNamed = createAddressSet(at.publicAddresses)(address);
  const isKnown = at.publicAddresses.length > 0;
  switch (outcome.kind) {
    case 'ours':
      return judgeReached(subject, address, outcome.redirects, isNamed || !isKnown || isLocal);
    case 'no_connection':
      if (isLocal) return closed(subject, outcome, at.byTlsAlpn);
      if (isKnown && !isNamed) return notOurs(subject, address, `nobody answers there from here (${outcome.code})`);
      return hairpin(subject, `${outcome.url} cannot be reached from this machine (${outcome.code})`);
    case 'other': {
      const who = outcome.server === '' ? '' : `, by a server that calls itself "${outcome.server}"`;
      const said = `${outcome.url} at ${address} is answered with ${outcome.status}${who}, not by this proxy`;
      if (isKnown ? isNamed : isLocal) return notThisProxy(subject, said);
      // Behind NAT a router often answers its own public address itself when it is asked from inside.
      if (!isKnown && at.localAddresses.every(isPrivate) && !isPrivate(address)) return hairpin(subject, said);
      return net.isIPv6(address) ? elsewhere6(subject, said) : elsewhere4(subject, said);
    }
    case 'too_long':
      return failure(
        'self_probe',
        'challenge_too_long',
        subject,
        `${outcome.url} is answered with more than the 128 bytes a CA reads: something on the way adds to answers`,
        'have what stands before this proxy pass /.well-known/acme-challenge/ on unchanged',
      );
    case 'loop':
      return failure(
        'self_probe',
        'redirect_loop',
        subject,
        `the redirects do not end: ${outcome.urls.slice(-3).join(' → ')}`,
        'have what redirects leave /.well-known/acme-challenge/ alone, and pass it on to this proxy',
      );
    case 'redirect_refused':
      return failure(
        'self_probe',
        'redirect_refused',
        subject,
        `${outcome.url} redirects to ${outcome.target}: ${outcome.reason}`,
        'have what redirects leave /.well-known/acme-challenge/ alone, and pass it on to this proxy',
      );
  }
}

function judgeReached(subject: string, address: string, redirects: readonly string[], expected: boolean): Finding {
  if (redirects.length > 0) {
    return warning(
      'self_probe',
      'challenge_redirected',
      subject,
      `it is answered by this proxy, but only after ${redirects.length} redirects, to ${redirects.at(-1)}`,
      'have what redirects leave /.well-known/acme-challenge/ alone: each step is one that can break',
    );
  }
  if (expected) return passed('self_probe', subject, 'this proxy answers there');
  return warning(
    'self_probe',
    'address_not_ours',
    subject,
    `this proxy answers there, but ${address} is not among acme.public_addresses`,
    'add it there if it is to stay (a load balancer, NAT), or point the record at one that is',
  );
}

function closed(
  subject: string,
  outcome: { readonly url: string; readonly code: string },
  byTlsAlpn: boolean,
): Finding {
  const message = `nobody answers at ${outcome.url} (${outcome.code}), and the address is this machine's`;
  const fix = 'have an entrypoint without TLS listen on that address, and let a firewall pass the port';
  // tls-alpn-01 needs no port 80.
  return byTlsAlpn
    ? warning('self_probe', 'port80_closed', subject, message, `${fix}; tls-alpn-01 is tried all the same`)
    : failure('self_probe', 'port80_closed', subject, message, fix);
}

function notOurs(subject: string, address: string, message: string): Finding {
  return warning(
    'self_probe',
    'address_not_ours',
    subject,
    `${address} is not among acme.public_addresses, and ${message}`,
    'point the record at this machine, or add the address there if it leads here (a load balancer, NAT)',
  );
}

function hairpin(subject: string, message: string): Finding {
  return warning(
    'self_probe',
    'hairpin_inconclusive',
    subject,
    `${message}; behind NAT that says nothing about how the world sees it`,
    'ask the URL from outside, or go by the trial order; acme.public_addresses tells which addresses are yours',
  );
}

function notThisProxy(subject: string, message: string): Finding {
  return failure(
    'self_probe',
    'port80_not_ours',
    subject,
    message,
    'stop what holds that port, or have it pass /.well-known/acme-challenge/ on to this proxy',
  );
}

function elsewhere4(subject: string, message: string): Finding {
  return failure(
    'self_probe',
    'dns_address_wrong',
    subject,
    message,
    'point the A record at this machine; if the address leads here (a load balancer), have it pass ' +
      '/.well-known/acme-challenge/ on',
  );
}

function elsewhere6(subject: string, message: string): Finding {
  return failure(
    'self_probe',
    'dns_aaaa_elsewhere',
    subject,
    `${message}; CAs ask IPv6 first, and do not try IPv4 when it answers`,
    'remove the AAAA record, or point it at this machine',
  );
}
