/** The command line: argv → verb → exit code. */
import { parseArgs } from 'node:util';
import { complain, complainAbout, print } from './terminal.ts';
import type * as Verbs from './verbs.ts';
import { parseDuration } from '../config/units.ts';
import { VERSION } from '../version.ts';

const USAGE = `proxy ${VERSION}: TLS, certificates, load balancing and the workers themselves

  proxy run                          serve until TERM or INT (twice: at once); HUP reloads
  proxy run --host NAME… [--email ADDRESS --agree-tos] (--to URL… | -- COMMAND…)
                                     the same without a file: NAME is served by COMMAND, which it starts, or by URL;
                                     --agree-tos: to the terms of the CA; --ca: another CA's directory
  proxy init [the same] [--systemd]  write them to ./proxy.yaml or --config FILE, asking if there are none; --systemd: to
                                     /etc/proxy/proxy.yaml, with unit, sockets and user; --root DIR: below it
  proxy validate [--effective]       every problem of the configuration, with its place;
                                     --effective prints it with its defaults, secrets masked
  proxy schema                       the configuration's JSON Schema, for editors
  proxy reload [--json]              have the daemon read its configuration again
  proxy status [--json | --watch]    what is up, since when, what is wrong and what comes next
  proxy health [--ready] [--json]    exit 0 when the daemon answers at its addresses; --ready: and every service can be served
  proxy logs [SERVICE] [-f] [--lines 100] [--json]
                                     what workers and the daemon wrote last; -f: and what they write from now on
  proxy deploy SERVICE [--release ID]
                                     a new release: the steps before its start, then its workers, ready first
  proxy restart SERVICE              replace its workers, one after the other, by new ones that are ready first
  proxy scale SERVICE N|auto         so many workers, until the configuration says otherwise
  proxy pause SERVICE [--message TEXT] | resume SERVICE
                                     let requests wait as its queue allows, then 503 with the text | go on
  proxy stop SERVICE | start SERVICE
                                     end its workers, requests get 503 | have them again
  proxy stop                         end the daemon: requests first, then workers
  proxy renew [NAME…] [--force] [--json]
                                     renew certificates now
  proxy renew [NAME…] --dry-run [--ca CA] [--timeout 120s] [--json]
                                     only try, leaving no trace: what stands in the way, then a trial order;
                                     CA is staging (as configured), production or a directory's URL
  proxy renew [NAME…] --preflight-only [--json]
                                     the same without the trial order
  proxy certs [list] [--json]        what is served, until when, what happens next and why; without a daemon, what is kept
  proxy certs import (--certificate FILE [--key FILE] | --pkcs12 FILE | --certbot DIR) [--passphrase P]
                                     have sites serve what others obtained, until it is due; P is file:PATH
                                     or '\${NAME}' of the environment
  proxy certs export NAME (--out DIR | --pkcs12 FILE --passphrase P)
                                     a certificate and its key, for another program
  proxy certs revoke NAME [--reason R] [--with-certificate-key]
                                     revoke it and put another with a new key in its place; R is unspecified,
                                     keyCompromise, superseded or cessationOfOperation
  proxy certs account (rollover | deactivate)
                                     give our account at the CA another key, or end it
  proxy licenses                     of everything that is in this program

  -c, --config FILE   else $PROXY_CONFIG, ./proxy.yaml, ./config/proxy.yaml, /etc/proxy/proxy.yaml
  --socket PATH       the daemon's admin socket, else as the configuration says
  --json              the daemon's answer, for programs, of all verbs above that ask it
  -h, --help          this text
  -v, --version       the version`;

const OPTIONS = {
  config: { type: 'string', short: 'c' },
  socket: { type: 'string' },
  host: { type: 'string', multiple: true },
  email: { type: 'string' },
  'agree-tos': { type: 'boolean', default: false },
  to: { type: 'string', multiple: true },
  systemd: { type: 'boolean', default: false },
  root: { type: 'string' },
  json: { type: 'boolean', default: false },
  follow: { type: 'boolean', short: 'f', default: false },
  watch: { type: 'boolean', default: false },
  lines: { type: 'string' },
  message: { type: 'string' },
  ready: { type: 'boolean', default: false },
  force: { type: 'boolean', default: false },
  effective: { type: 'boolean', default: false },
  'dry-run': { type: 'boolean', default: false },
  'preflight-only': { type: 'boolean', default: false },
  ca: { type: 'string' },
  timeout: { type: 'string' },
  certificate: { type: 'string' },
  key: { type: 'string' },
  certbot: { type: 'string' },
  pkcs12: { type: 'string' },
  passphrase: { type: 'string' },
  out: { type: 'string' },
  reason: { type: 'string' },
  release: { type: 'string' },
  'with-certificate-key': { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
  version: { type: 'boolean', short: 'v', default: false },
} as const;

/** Those that only some verbs take. */
const DEPLOYMENT = ['host', 'email', 'agree-tos', 'to', 'ca'] as const;
const TRANSFER = ['certificate', 'key', 'certbot', 'pkcs12', 'passphrase', 'out'] as const;
const REVOCATION = ['reason', 'with-certificate-key'] as const;
const TRIAL = ['dry-run', 'preflight-only', 'ca', 'timeout'] as const;
const OPTIONAL = [
  'socket',
  'json',
  'follow',
  'lines',
  'ready',
  'effective',
  'release',
  'force',
  ...DEPLOYMENT,
  'systemd',
  'root',
  ...TRIAL,
  ...TRANSFER,
  ...REVOCATION,
] as const;

/** Which options, beside `--config`, a verb takes. */
const TAKES: Readonly<Record<string, readonly string[]>> = {
  run: DEPLOYMENT,
  init: [...DEPLOYMENT, 'systemd', 'root'],
  validate: ['effective'],
  schema: [],
  licenses: [],
  reload: ['socket', 'json'],
  status: ['socket', 'json', 'watch'],
  health: ['socket', 'ready', 'json'],
  logs: ['socket', 'json', 'follow', 'lines'],
  deploy: ['socket', 'release', 'json'],
  restart: ['socket', 'json'],
  pause: ['socket', 'message', 'json'],
  resume: ['socket', 'json'],
  start: ['socket', 'json'],
  stop: ['socket', 'json'],
  scale: ['socket', 'json'],
  renew: ['socket', 'json', 'force', ...TRIAL],
  certs: ['socket', 'json', ...TRANSFER, ...REVOCATION],
};

/** Verbs that are followed by names. */
const TAKE_WORDS = ['renew', 'certs', 'logs', 'deploy', 'restart', 'scale', 'pause', 'resume', 'start', 'stop'];

export const VERBS: readonly string[] = Object.keys(TAKES);

type Values = ReturnType<typeof parseOptions>['values'];

function parseOptions(argv: readonly string[]) {
  return parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true, strict: true });
}

export async function main(argv: readonly string[]): Promise<number> {
  // What follows is somebody else's command line.
  const end = argv.indexOf('--');
  const command = end < 0 ? [] : argv.slice(end + 1);
  let parsed;
  try {
    parsed = parseOptions(end < 0 ? argv : argv.slice(0, end));
  } catch (error) {
    complainAbout(error);
    complain('see: proxy --help');
    return 1;
  }
  const { values, positionals } = parsed;
  if (values.version) return done(VERSION);
  if (values.help) return done(USAGE);
  const [verb, ...names] = positionals;
  if (verb === undefined) {
    complain(USAGE);
    return 1;
  }
  const takes = TAKES[verb];
  if (takes === undefined) return misused(`there is no verb "${verb}"`);
  const isDeployment = verb === 'run' || verb === 'init';
  if (command.length > 0 && !isDeployment) return misused(`"${verb}" takes no command`);
  if (names.length > 0 && isDeployment) return misused(`"${names[0]}": a command comes after --, a URL after --to`);
  if (names.length > 0 && !TAKE_WORDS.includes(verb)) return misused(`"${verb}" takes no argument "${names[0]}"`);
  for (const option of OPTIONAL) {
    const given = values[option] !== undefined && values[option] !== false;
    if (given && !takes.includes(option)) return misused(`"${verb}" takes no --${option}`);
  }
  const verbs = await import('./verbs.ts');
  const { socket, config, json } = values;
  const serviceVerb = { words: names, socket, config, json };
  switch (verb) {
    case 'run':
      return verbs.run(values.config, { ...values, command });
    case 'init':
      return verbs.init({
        words: { ...values, command },
        file: values.config,
        systemd: values.systemd,
        root: values.root ?? '/',
      });
    case 'validate':
      return verbs.validate(values.config, values.effective);
    case 'schema':
      return verbs.schema();
    case 'licenses':
      return verbs.licenses();
    case 'reload':
      return verbs.reload({ socket, config, json });
    case 'status':
      return verbs.status({ socket, config, json, watch: values.watch });
    case 'health':
      return verbs.health({ socket, config, json, ready: values.ready });
    case 'logs':
      return verbs.logs({ ...serviceVerb, follow: values.follow, lines: values.lines });
    case 'deploy':
      return verbs.deploy(serviceVerb, values.release);
    case 'restart':
      return verbs.restart(serviceVerb);
    case 'scale':
      return verbs.scale(serviceVerb);
    case 'pause':
      return verbs.pause(serviceVerb, values.message);
    case 'resume':
      return verbs.resume(serviceVerb);
    case 'start':
      return verbs.start(serviceVerb);
    case 'stop':
      return names.length === 0 ? verbs.stop({ socket, config, json }) : verbs.stopService(serviceVerb);
    case 'certs': {
      const { certificate, key, certbot, pkcs12, passphrase, out, reason } = values;
      const withCertificateKey = values['with-certificate-key'];
      const transfer = { certificate, key, certbot, pkcs12, passphrase, out };
      return verbs.certs({ words: names, config, socket, json, ...transfer, reason, withCertificateKey });
    }
    default:
      return startRenewal(names, values, verbs);
  }
}

function startRenewal(names: readonly string[], values: Values, verbs: typeof Verbs): number | Promise<number> {
  const { DRY_RUN_TIMEOUT_MS, isCaChoice, renew } = verbs;
  const { force, json, socket, config, ca = 'staging', timeout } = values;
  const dryRun = values['dry-run'] || values['preflight-only'];
  if (!dryRun && values.ca !== undefined) return misused('--ca is for --dry-run: who issues is configured');
  if (!dryRun && timeout !== undefined) return misused('--timeout is for --dry-run');
  if (!isCaChoice(ca)) return misused('--ca must be staging, production or an https:// address');
  const timeoutMs = timeout === undefined ? DRY_RUN_TIMEOUT_MS : parseDuration(timeout, 3_600_000);
  if (timeoutMs === null || timeoutMs === 0) return misused('--timeout must be a duration up to 1h, like 120s');
  const trial = dryRun ? { ca, preflightOnly: values['preflight-only'], timeoutMs } : null;
  return renew({ names, force, trial, json, socket, config });
}

function done(text: string): number {
  print(text);
  return 0;
}

function misused(problem: string): number {
  complain(`proxy: ${problem}`);
  complain('see: proxy --help');
  return 1;
}
