/** testssl.sh against a listener with a certificate of the internal CA. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { RECORDING_SERVICE, startDaemon } from '../support/daemon.ts';
import { run } from '../support/processes.ts';
import { formatTable, print } from '../../src/cli/terminal.ts';

export const SUMMARY = 'testssl.sh finds nothing vulnerable, no CBC, no renegotiation (a minute)';

interface Finding {
  readonly id: string;
  readonly severity: string;
  readonly finding: string;
  readonly cve?: string;
}

/** Findings that are as they are meant to be, each with its reason. */
const MEANT: ReadonlyMap<string, string> = new Map([
  ['cipher_order', "the client's preference decides: all of ours are good, and it knows which is fast for it"],
  ['cert_revocation', 'the internal CA revokes nothing: its certificates are replaced'],
  ['HSTS', 'said by the sites that ask for it'],
  ['security_headers', "the app's, or set by `headers.response`"],
]);
const SHOWN =
  /^(?:SSLv\d|TLS1.*|ALPN_HTTP2|ALPN|PFS_ECDHE_curves|FS_.*|cipherlist_.*|TLS_session_ticket|sessionresumption_.*|cert_chain_of_trust|secure_.*renego|early_data|overall_grade|final_score)$/;

export async function prove(): Promise<void> {
  await using daemon = await startDaemon({
    config: `sites: [{ hosts: [localhost, 127.0.0.1], service: web }]${RECORDING_SERVICE}`,
  });
  const file = path.join(daemon.folder, 'testssl.json');
  const args = '--openssl /usr/bin/openssl --nodns min --ip 127.0.0.1 --color 0 --jsonfile'.split(' ');
  const { stdout } = await run('testssl', [...args, file, '--add-ca', daemon.ca, `${daemon.origin}/`]);
  const findings = JSON.parse(readFileSync(file, 'utf8')) as Finding[];
  const of = (id: string): string => findings.find((finding) => finding.id === id)?.finding ?? 'not looked at';
  const vulnerabilities = findings.filter(({ cve }) => cve !== undefined);
  const bad = findings.filter(({ severity }) => /^(?:LOW|MEDIUM|HIGH|CRITICAL|FATAL)$/.test(severity));
  print(
    formatTable([
      ['testssl.sh', /testssl\s+(\S+) from/.exec(stdout)?.[1] ?? '?'],
      ...findings.filter(({ id }) => SHOWN.test(id)).map(({ id, finding }) => [id, finding] as const),
      [
        'ciphers',
        findings.flatMap(({ id, finding }) => (id.startsWith('cipher_x') ? cipherName(finding) : [])).join(' '),
      ],
      ['vulnerabilities looked for', `${vulnerabilities.length}, ${vulnerabilities.filter(isVulnerable).length} found`],
      ...bad.map(({ id, severity, finding }) => [`${id} (${severity})`, `${finding}; ${MEANT.get(id) ?? 'not meant'}`]),
    ]),
  );
  // What was not looked at would be good.
  assert.ok(vulnerabilities.length >= 15, stdout);
  assert.deepEqual(vulnerabilities.filter(isVulnerable), []);
  assert.deepEqual(
    bad.filter(({ id }) => !MEANT.has(id)),
    [],
  );
  for (const id of ['SSLv2', 'SSLv3', 'TLS1', 'TLS1_1']) assert.match(of(id), /^not offered/, id);
  assert.match(of('TLS1_2'), /^offered/);
  assert.match(of('TLS1_3'), /^offered/);
  const ciphers = findings.filter(({ id }) => id.startsWith('cipher_x'));
  assert.equal(ciphers.length, 6);
  for (const { finding } of ciphers) assert.match(finding, /AESGCM|ChaCha20/);
  assert.match(of('secure_client_renego'), /^not vulnerable/);
  assert.match(of('cert_chain_of_trust'), /^passed/);
  const grade = findings.find(({ id }) => id === 'overall_grade');
  if (grade !== undefined) assert.match(grade.finding, /^A\+?$/);
}

function isVulnerable({ severity, finding }: Finding): boolean {
  return !/^(?:OK|INFO)$/.test(severity) || /(?<!not )vulnerable/i.test(finding);
}

/** `xc02c   ECDHE-ECDSA-AES256-GCM-SHA384   ECDH 253 …`. */
function cipherName(finding: string): string {
  return finding.split(/\s+/)[1] ?? finding;
}
