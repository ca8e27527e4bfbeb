/** CAA records, looked for up the tree as the CA does. */
import net from 'node:net';
import { caaNames, judgeCaa } from './caa.ts';
import type { CaaRecord, CaaVerdict } from './caa.ts';
import type { Check, CheckContext } from './context.ts';
import { failure, passed, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import type { ChallengeType } from '../solvers/solver.ts';

/** For CAs whose directory does not say. */
const KNOWN_IDENTITIES: readonly (readonly [RegExp, string])[] = [[/(^|\.)letsencrypt\.org$/, 'letsencrypt.org']];

export const checkCaa: Check = async ({ hosts }, context) => {
  const findings = hosts.map((host) =>
    net.isIP(host) === 0 ? checkHost(host, context) : passed('caa', host, 'an address has no CAA records'),
  );
  return Promise.all(findings);
};

async function checkHost(host: string, context: CheckContext): Promise<Finding> {
  const names = caaNames(host);
  // All at once; which of them counts is decided by how near it is.
  const answers = await Promise.all(names.map((name) => context.limit(() => context.resolver.caa(name))));
  for (const [i, answer] of answers.entries()) {
    const at = names[i] ?? host;
    switch (answer.kind) {
      case 'found':
        return judge(host, at, answer.values, context);
      case 'servfail':
        return failure(
          'caa',
          'caa_servfail',
          host,
          `the name servers fail when they are asked for the CAA records of ${at}: a CA must then refuse`,
          'mend the zone where it is hosted; some old name servers know no CAA and must be replaced',
        );
      case 'unanswered':
        return warning(
          'caa',
          'dns_unanswered',
          host,
          `nobody answered for the CAA records of ${at} (${answer.code})`,
          "check acme.resolvers or the machine's resolv.conf; a CA asks servers of its own",
        );
      case 'none':
      case 'nxdomain':
        break;
    }
  }
  return passed('caa', host, 'no CAA record restricts who may issue');
}

async function judge(host: string, at: string, records: readonly CaaRecord[], context: CheckContext): Promise<Finding> {
  const directory = await context.directory();
  const { hostname } = new URL(context.directoryUrl);
  const listed = directory.kind === 'directory' ? directory.directory.caaIdentities : [];
  const known = KNOWN_IDENTITIES.filter(([pattern]) => pattern.test(hostname)).map(([, identity]) => identity);
  const identities = listed.length > 0 ? listed : known;
  if (identities.length === 0) {
    return warning(
      'caa',
      'caa_not_judged',
      host,
      `${at} has CAA records, and the CA does not tell the name it goes by in them`,
      "see the CA's documentation for the name, and that a record allows it",
    );
  }
  const wildcard = host.startsWith('*.');
  const methods = context.acme.challenges.filter((type) => !wildcard || isDns(type));
  const verdict = judgeCaa({ records, wildcard, identities, accountUrl: context.accountUrl, methods });
  if (verdict.ok) return passed('caa', host, `the CAA records of ${at} allow ${identities.join(', ')}`);
  const said = `${at} has ${verdict.records.join(', ')}`;
  return failure('caa', verdict.code, host, `${said}${WHY[verdict.code]}${verdict.wanted}`, fixOf(verdict, at));
}

type Refusal = Extract<CaaVerdict, { ok: false }>;

const WHY: Readonly<Record<Refusal['code'], string>> = {
  caa_issue_forbids: ', and none of it allows ',
  caa_issuewild_forbids: ', and for wildcards none of it allows ',
  caa_accounturi: ', which allows another account than ours: ',
  caa_validationmethods: ', which allows none of the ways used here: ',
  caa_unknown_critical: ', which no CA understands and all must therefore obey by refusing; wanted is ',
};

function fixOf({ code, wanted }: Refusal, at: string): string {
  const issuer = wanted.split(', ')[0] ?? '';
  switch (code) {
    case 'caa_issue_forbids':
      return `add the record: ${at}. CAA 0 issue "${issuer}"`;
    case 'caa_issuewild_forbids':
      return `add the record: ${at}. CAA 0 issuewild "${issuer}"`;
    case 'caa_accounturi':
      return `put our account's URL in the record of ${at} (accounturi=${wanted}), or leave accounturi out`;
    case 'caa_validationmethods':
      return `add one of them to validationmethods in the record of ${at}, or one that is allowed to acme.challenges`;
    case 'caa_unknown_critical':
      return `remove that record of ${at}, or its critical flag`;
  }
}

function isDns(type: ChallengeType): boolean {
  return type === 'dns-01' || type === 'dns-persist-01';
}
