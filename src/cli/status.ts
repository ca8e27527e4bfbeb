import { callDaemon, isRecord } from './admin_client.ts';
import { findSocket } from './configuration.ts';
import { complainAbout, formatAge, formatTable, print } from './terminal.ts';

/** What runs, for a person or as JSON. Exit 0, or 1 when no daemon answers. */
export async function status(socket: string | undefined, option: string | undefined, json: boolean): Promise<number> {
  try {
    const value = await callDaemon(findSocket(socket, option), 'GET', '/v1/status');
    print(json ? JSON.stringify(value, null, 2) : describe(value));
    return 0;
  } catch (error) {
    complainAbout(error);
    return 1;
  }
}

function describe(status: unknown): string {
  const top = fields(status);
  const out = [`proxy ${top['version']}, pid ${top['pid']}, up ${age(top['started_at'])}, ${top['configuration']}`];
  const { zombies } = top;
  if (typeof zombies === 'number' && zombies > 0)
    out.push(
      `${zombies} ${zombies === 1 ? 'zombie' : 'zombies'}: we are PID 1, and nobody buries orphans; start us under an init`,
    );
  const section = (title: string, head: readonly string[], rows: readonly (readonly string[])[]): void => {
    if (rows.length > 0) out.push('', title, formatTable([head, ...rows]));
  };
  section(
    'Listeners',
    ['NAME', 'ADDRESS', 'TLS'],
    each(top['listeners']).map((row) => [text(row['name']), text(row['address']), row['tls'] === true ? 'yes' : 'no']),
  );
  section(
    'Sites',
    ['SITE', 'TLS', 'HOSTS'],
    each(top['sites']).map((row) => [text(row['name']), text(row['tls']), text(row['hosts'])]),
  );
  section(
    'Certificates',
    ['NAME', 'ISSUER', 'VALID UNTIL', 'RENEWAL', 'LAST ERROR'],
    each(top['certificates']).map((row) =>
      [row['name'], row['issuer'], row['not_after'], row['next_attempt_at'] ?? row['renew_at'], row['last_error']].map(
        text,
      ),
    ),
  );
  section(
    'Proxies',
    ['SLOT', 'PID', 'STATE', 'AGE', 'RESTARTS', 'CONNECTIONS', 'REQUESTS', 'IN FLIGHT', 'LAST EXIT'],
    each(top['proxies']).map((row) => [
      ...[row['slot'], row['pid'], row['state']].map(text),
      age(row['started_at']),
      restarts(row),
      ...[row['connections'], row['requests'], row['in_flight']].map(text),
      lastExit(row),
    ]),
  );
  section(
    'Services',
    ['SERVICE', 'STATE', 'COMMAND', 'RELEASE', 'DIRECTORY', 'NOW'],
    each(top['services']).map((service) => {
      const { name, id, directory } = fields(service['release']);
      return [
        ...[service['name'], service['state'], service['command'], name ?? id, directory].map(text),
        now(service),
      ];
    }),
  );
  section(
    'Scaling',
    ['SERVICE', 'WORKERS', 'OF', 'CPU', 'BUSY', 'QUEUED', 'MACHINE', 'DECIDED', 'WHY'],
    each(top['services']).flatMap((service) => {
      const scaling = fields(service['scaling']);
      if (scaling['type'] !== 'load' && scaling['overridden'] !== true) return [];
      const last = fields(scaling['last']);
      return [
        [
          text(service['name']),
          String(each(service['workers']).length),
          `${text(scaling['min'])} to ${text(scaling['max'])}`,
          ...[last['cpu'], last['busy']].map(percent),
          text(last['queued']),
          percent(last['host_cpu']),
          age(last['at']),
          scaling['overridden'] === true ? 'proxy scale' : text(last['reason']),
        ],
      ];
    }),
  );
  section(
    'Workers',
    ['WORKER', 'PID', 'STATE', 'AGE', 'RESTARTS', 'IN FLIGHT', 'MEMORY', 'CPU', 'LOST LINES', 'LAST EXIT'],
    each(top['services']).flatMap((service) => [
      ...each(service['workers']).map((row) => [
        ...[row['id'], row['pid'], row['state']].map(text),
        age(row['started_at']),
        restarts(row),
        text(row['in_flight']),
        size(row['memory']),
        percent(row['cpu']),
        text(row['lost_lines']),
        row['waits_for'] === null ? lastExit(row) : text(row['waits_for']),
      ]),
      ...each(service['upstreams']).map((row) => [
        text(row['id']),
        '-',
        'ready',
        '-',
        '-',
        text(row['in_flight']),
        '-',
        '-',
        '-',
        '-',
      ]),
    ]),
  );
  return out.join('\n');
}

function fields(value: unknown): Readonly<Record<string, unknown>> {
  return isRecord(value) ? value : {};
}

function each(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) ? value.map(fields) : [];
}

function text(value: unknown): string {
  if (value === null || value === undefined) return '-';
  return Array.isArray(value) ? value.join(' ') : String(value);
}

function size(bytes: unknown): string {
  return typeof bytes === 'number' ? `${(bytes / 1024 / 1024).toFixed(0)} MiB` : '-';
}

function percent(share: unknown): string {
  return typeof share === 'number' ? `${(share * 100).toFixed(0)} %` : '-';
}

/** `3 (boot 2, oom 1)` */
function restarts(row: Readonly<Record<string, unknown>>): string {
  const reasons = Object.entries(fields(row['restarts_by_reason'])).map(
    ([reason, count]) => `${reason} ${text(count)}`,
  );
  return reasons.length === 0 ? text(row['restarts']) : `${text(row['restarts'])} (${reasons.join(', ')})`;
}

/** `signal SIGKILL (oom)` */
function lastExit(row: Readonly<Record<string, unknown>>): string {
  const { last_exit: exit, last_exit_reason: reason } = row;
  return exit === null || reason === undefined ? text(exit) : `${text(exit)} (${text(reason)})`;
}

function age(started: unknown): string {
  return typeof started === 'string' ? formatAge(Date.now() - Date.parse(started)) : '-';
}

/** What a service is at, or what is wrong with it. */
function now(service: Readonly<Record<string, unknown>>): string {
  const { step, number, of, attempt, started_at: since } = fields(service['prestart']);
  if (service['waits_for_another_instance'] === true) return 'another instance prepares a release';
  if (step === undefined) return text(service['problem']);
  const again = attempt === 1 ? '' : `, attempt ${text(attempt)}`;
  return `step ${text(step)} (${text(number)} of ${text(of)})${again} since ${age(since)}`;
}
