/** A dry run's report for people: a table, then for each thing that stands in the way why, and what to do. Pure. */
import { z } from 'zod';
import { formatAge, formatTable } from './terminal.ts';
import { escapeControls } from '../log.ts';

const text = z.string();
const time = z.number().nullable();
const finding = z.object({
  code: text,
  level: z.enum(['ok', 'warn', 'fail']),
  subject: text,
  message: text,
  fix: text.nullable(),
});
const problem = z.object({
  type: text,
  status: z.number().nullable(),
  subproblems: z.array(z.object({ identifier: text, type: text, detail: text })),
  url: text.nullable(),
  retryAt: time,
});
const result = z.object({
  name: text,
  ca: text.nullable(),
  challenge: text.nullable(),
  outcome: text,
  code: z.number(),
  reason: text.nullable(),
  preflight: z.object({ level: z.enum(['ok', 'warn', 'fail']), findings: z.array(finding) }),
  trial: z.object({ code: z.number(), problem: problem.nullish() }).nullable(),
  real: z
    .object({
      notAfter: z.number(),
      renewAt: time,
      window: z.object({ start: z.number(), end: z.number() }).nullable(),
    })
    .nullable(),
});
const report = z.object({ ca: text, preflightOnly: z.boolean(), results: z.array(result) });

type Report = z.infer<typeof report>;
type Result = z.infer<typeof result>;
type Finding = z.infer<typeof finding>;

/** null: it is not one this version knows. */
export function parseDryRunReport(value: unknown): Report | null {
  return report.safeParse(value).data ?? null;
}

const NOT_PROVEN = `What a dry run cannot show: the rate limits of the CA that is asked for real, and whether it takes our account
(CAA accounturi, its list of who may use a profile); what other front ends of the same names would answer.`;

/** `now` in milliseconds since the epoch. What strangers said comes out escaped. */
export function renderDryRun({ results, preflightOnly }: Report, now: number): string {
  const head = ['NAME', 'CA', 'CHALLENGE', 'PREFLIGHT', 'TRIAL', 'REAL CERT'];
  const rows = results.map((it) => [
    it.name,
    it.ca === null ? '-' : hostOf(it.ca),
    it.challenge ?? '-',
    preflightCell(it),
    trialCell(it, preflightOnly),
    realCell(it, now),
  ]);
  const paragraphs = [...findingParagraphs(results), ...results.flatMap((it) => failureParagraph(it))];
  const parts = [formatTable([head, ...rows].map((row) => row.map(escapeControls))), ...paragraphs];
  if (!preflightOnly && results.some(({ trial }) => trial?.code === 0)) parts.push(NOT_PROVEN);
  return parts.join('\n\n');
}

function preflightCell({ ca, preflight: { level, findings } }: Result): string {
  if (ca === null) return '-';
  const codes = [...new Set(findings.filter((it) => it.level === level).map(({ code }) => code))];
  return level === 'ok' ? 'ok' : `${level === 'fail' ? 'FAILED' : 'warning'}: ${codes.join(', ')}`;
}

function trialCell({ ca, trial }: Result, preflightOnly: boolean): string {
  if (ca === null) return '-';
  if (trial !== null) return trial.code === 0 ? 'ok' : 'FAILED';
  return preflightOnly ? 'not asked for' : 'not tried';
}

function realCell({ real }: Result, now: number): string {
  if (real === null) return 'none yet';
  const { notAfter, renewAt, window } = real;
  const left = notAfter > now ? `${formatAge(notAfter - now)} left` : `EXPIRED ${formatAge(now - notAfter)} ago`;
  if (renewAt === null) return left;
  const next = renewAt > now ? `renews in ${formatAge(renewAt - now)}` : 'due now';
  return `${left}, ${next}${window === null ? '' : `; CA suggests ${day(window.start)} to ${day(window.end)}`}`;
}

/** The same thing is told once, with all the certificates it concerns. */
function findingParagraphs(results: readonly Result[]): string[] {
  const groups = new Map<string, { readonly finding: Finding; readonly names: string[] }>();
  for (const { name, preflight } of results) {
    for (const it of preflight.findings) {
      if (it.level === 'ok') continue;
      const key = JSON.stringify(it);
      const group = groups.get(key) ?? { finding: it, names: [] };
      if (!group.names.includes(name)) group.names.push(name);
      groups.set(key, group);
    }
  }
  const worstFirst = [...groups.values()].toSorted((a, b) => rank(a.finding) - rank(b.finding));
  return worstFirst.map(({ finding: { level, code, subject, message, fix }, names }) =>
    paragraph(`${level === 'fail' ? 'FAILED' : 'warning'} ${code} (${subject}), for ${listed(names)}`, [
      ['why', message],
      ['fix', fix ?? ''],
    ]),
  );
}

/** Of what is no finding: the CA refused, or there was nothing to try. */
function failureParagraph({ name, outcome, trial, reason, preflight }: Result): string[] {
  if (outcome !== 'failed' || (trial === null && preflight.findings.some(({ level }) => level === 'fail'))) return [];
  const { problem } = trial ?? {};
  const type = problem?.type ? ` ${problem.type}` : '';
  const subproblems = problem?.subproblems ?? [];
  return [
    paragraph(`FAILED${type}, for ${name}`, [
      ['why', reason ?? 'the CA gave no reason'],
      ...subproblems.map(({ identifier, type, detail }): Line => [identifier, `${type}: ${detail}`]),
      ['url', problem?.url ?? ''],
      ['until', problem?.retryAt ? new Date(problem.retryAt).toISOString() : ''],
      ['fix', FIXES[problem?.type ?? ''] ?? ''],
    ]),
  ];
}

/** RFC 8555 section 6.7: what usually helps. */
const FIXES: Readonly<Record<string, string>> = {
  caa: 'let the CAA records of the name allow this CA',
  connection: 'let the CA reach that URL: a firewall, a port that is not forwarded, an old AAAA record',
  dns: 'mend the zone of the name, and see what outside name servers answer',
  incorrectResponse: 'something before this proxy answers in its place: have it pass on /.well-known/acme-challenge/',
  unauthorized:
    'something else answers at that URL: point the name here, or have it pass on /.well-known/acme-challenge/',
  rateLimited: 'wait until then',
  rejectedIdentifier: 'the CA does not issue for this name: use another CA or another name',
  externalAccountRequired: 'set eab: { kid, hmac_key } of the issuer',
  userActionRequired: "agree to the CA's new terms",
};

type Line = readonly [label: string, text: string];

function paragraph(title: string, lines: readonly Line[]): string {
  const told = lines.filter(([, text]) => text !== '').map(([label, text]) => `  ${label}: ${text}`);
  return [title, ...told].map(escapeControls).join('\n');
}

function rank({ level }: Finding): number {
  return level === 'fail' ? 0 : 1;
}

function listed(names: readonly string[]): string {
  return names.length > 5 ? `${names.slice(0, 4).join(', ')} and ${names.length - 4} others` : names.join(', ');
}

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : url;
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
