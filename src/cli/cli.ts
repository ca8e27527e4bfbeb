/** The command line: argv → verb → exit code. */
import { parseArgs } from 'node:util';
import { reload } from './reload.ts';
import { renew } from './renew.ts';
import { run } from './run.ts';
import { schema } from './schema.ts';
import { status } from './status.ts';
import { complain, complainAbout, print } from './terminal.ts';
import { validate } from './validate.ts';
import { VERSION } from '../version.ts';

const USAGE = `proxy ${VERSION}: TLS, certificates, load balancing and the workers themselves

  proxy run                          serve until TERM or INT (twice: at once); HUP reloads
  proxy validate [--effective]       every problem of the configuration, with its place;
                                     --effective prints it with its defaults, secrets masked
  proxy schema                       the configuration's JSON Schema, for editors
  proxy reload                       have the daemon read its configuration again
  proxy status [--json]              what runs: listeners, sites, certificates, workers
  proxy renew [NAME…] [--force] [--dry-run] [--json]
                                     renew certificates now; --dry-run only tries, leaving no trace

  -c, --config FILE   else $PROXY_CONFIG, ./proxy.yaml, ./config/proxy.yaml, /etc/proxy/proxy.yaml
  --socket PATH       the daemon's admin socket, else as the configuration says
  -h, --help          this text
  -v, --version       the version`;

const OPTIONS = {
  config: { type: 'string', short: 'c' },
  socket: { type: 'string' },
  json: { type: 'boolean', default: false },
  force: { type: 'boolean', default: false },
  effective: { type: 'boolean', default: false },
  'dry-run': { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
  version: { type: 'boolean', short: 'v', default: false },
} as const;

/** Which options, beside `--config`, a verb takes. */
const TAKES: Readonly<Record<string, readonly string[]>> = {
  run: [],
  validate: ['effective'],
  schema: [],
  reload: ['socket'],
  status: ['socket', 'json'],
  renew: ['socket', 'json', 'force', 'dry-run'],
};

export async function main(argv: readonly string[]): Promise<number> {
  let parsed;
  try {
    parsed = parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true, strict: true });
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
  if (names.length > 0 && verb !== 'renew') return misused(`"${verb}" takes no argument "${names[0]}"`);
  for (const option of ['socket', 'json', 'effective', 'force', 'dry-run'] as const) {
    const given = values[option] !== undefined && values[option] !== false;
    if (given && !takes.includes(option)) return misused(`"${verb}" takes no --${option}`);
  }
  switch (verb) {
    case 'run':
      return run(values.config);
    case 'validate':
      return validate(values.config, values.effective);
    case 'schema':
      return schema();
    case 'reload':
      return reload(values.socket, values.config);
    case 'status':
      return status(values.socket, values.config, values.json);
    default:
      return renew({
        names,
        force: values.force,
        dryRun: values['dry-run'],
        json: values.json,
        socket: values.socket,
        config: values.config,
      });
  }
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
