/** `proxy status` as text: what is up, since when, what is wrong and what comes next. Pure: from the daemon's JSON and a clock. */
import { isRecord } from './admin_client.ts';
import { formatAge, formatTable } from './terminal.ts';
import { escapeControls } from '../log.ts';

type Fields = Readonly<Record<string, unknown>>;

/** How a word is shown; without colours as it is. */
export type Paint = (tone: 'good' | 'warn' | 'bad' | 'soft', text: string) => string;

export const PLAIN: Paint = (_, text) => text;

const COLOURS = { good: 32, warn: 33, bad: 31, soft: 90 } as const;
export const COLOURED: Paint = (tone, text) => `\u001b[${COLOURS[tone]}m${text}\u001b[0m`;

/** From here on a resource is short, or a certificate near its end. */
const FULL = 0.9;
const SOON_MS = 7 * 86_400_000;

export function renderStatus(status: unknown, now: number, paint: Paint = PLAIN): string {
  const top = fields(status);
  const report = createReport(now, paint);
  const out = [
    `proxy ${text(top['version'])}, pid ${text(top['pid'])}, up ${report.age(top['started_at'])}, ${text(top['configuration'])}`,
    report.machine(fields(top['machine'])),
  ];
  const problems = report.problems(top);
  if (problems.length > 0) out.push('', paint('bad', 'What is wrong'), ...problems.map((line) => `  ${line}`));
  const section = (title: string, head: readonly string[], rows: readonly (readonly string[])[]): void => {
    if (rows.length > 0) out.push('', paint('soft', title), report.table(head, rows));
  };
  const services = each(top['services']);
  section(
    'Services',
    ['SERVICE', 'STATE', 'WORKERS', 'REQ/S', 'ERR/S', 'P50', 'P95', 'P99', 'QUEUED', 'RELEASE', 'NOW'],
    services.map(report.service),
  );
  section(
    'Workers',
    ['WORKER', 'STATE', 'PID', 'AGE', 'IN FLIGHT', 'MEMORY', 'CPU', 'RESTARTS', 'LOST LINES', 'LAST EXIT'],
    services.flatMap((service) => [
      ...each(service['workers']).map(report.worker),
      ...each(service['upstreams']).map((row) => [text(row['id']), 'ready', '-', '-', text(row['in_flight'])]),
    ]),
  );
  section(
    'Commands',
    ['SERVICE', 'COMMAND', 'DIRECTORY'],
    services.flatMap((service) =>
      service['command'] === null
        ? []
        : [[service['name'], service['command'], fields(service['release'])['directory']].map(text)],
    ),
  );
  section(
    'Scaling',
    ['SERVICE', 'WORKERS', 'OF', 'CPU', 'BUSY', 'MACHINE', 'DECIDED', 'WHY'],
    services.flatMap(report.scaling),
  );
  section(
    'Certificates',
    ['NAME', 'ISSUER', 'LEFT', 'NEXT', 'LAST ERROR'],
    each(top['certificates']).map(report.certificate),
  );
  section(
    'Entrypoints',
    ['NAME', 'ADDRESS', 'TLS'],
    each(top['listeners']).map((row) => [text(row['name']), text(row['address']), row['tls'] === true ? 'yes' : 'no']),
  );
  section(
    'Sites',
    ['SITE', 'TLS', 'HOSTS'],
    each(top['sites']).map((row) => [row['name'], row['tls'], row['hosts']].map(text)),
  );
  section(
    'Proxies',
    ['SLOT', 'STATE', 'PID', 'AGE', 'CONNECTIONS', 'REQUESTS', 'IN FLIGHT', 'RESTARTS', 'LAST EXIT'],
    each(top['proxies']).map((row) => [
      text(row['slot']),
      report.state(row['state']),
      text(row['pid']),
      report.age(row['started_at']),
      ...[row['connections'], row['requests'], row['in_flight']].map(text),
      restarts(row),
      lastExit(row),
    ]),
  );
  return out.join('\n');
}

function createReport(now: number, paint: Paint) {
  const age = (at: unknown): string => (typeof at === 'string' ? formatAge(now - Date.parse(at)) : '-');
  const until = (at: unknown): string => {
    if (typeof at !== 'string') return '-';
    const ms = Date.parse(at) - now;
    return ms > 0 ? `in ${formatAge(ms)}` : 'now';
  };
  const state = (value: unknown): string => {
    const name = text(value);
    if (name === 'up' || name === 'ready') return paint('good', name);
    const bad = ['down', 'failed', 'fatal', 'backoff', 'unhealthy'].includes(name);
    return paint(bad ? 'bad' : 'warn', name);
  };

  return {
    age,
    state,
    table: (head: readonly string[], rows: readonly (readonly string[])[]): string => formatTable([head, ...rows]),

    machine: (machine: Fields): string => {
      const used = (name: string): string => {
        const { total, available } = fields(machine[name]);
        if (typeof total !== 'number' || typeof available !== 'number' || total === 0) return '';
        const share = 1 - available / total;
        return `, ${name} ${share >= FULL ? paint('warn', percent(share)) : percent(share)} of ${size(total)}`;
      };
      const { cpus, cpu } = machine;
      const busy = typeof cpu === 'number' && cpu >= FULL ? paint('warn', percent(cpu)) : percent(cpu);
      return `machine: ${text(cpus)} CPUs ${busy}${used('memory')}${used('swap')}${used('disk')}`;
    },

    problems: (top: Fields): readonly string[] => {
      const told = fields(top['health'])['problems'];
      const lines = Array.isArray(told) ? told.map(text) : [];
      const { last_ok: reloaded, problem } = fields(top['reload']);
      if (reloaded === false) lines.push(`the last reload was refused: ${text(problem)}`);
      for (const { name, held } of each(top['services'])) {
        const { admission, message } = fields(held);
        if (admission !== undefined) lines.push(`${text(name)} is ${text(admission)}: ${text(message)}`);
      }
      for (const { name, last_error: error, not_after: end } of each(top['certificates'])) {
        if (typeof error === 'string') lines.push(`certificate ${text(name)}: ${text(error)}`);
        else if (typeof end === 'string' && Date.parse(end) < now) lines.push(`certificate ${text(name)} has expired`);
      }
      const defects = top['defects'];
      if (typeof defects === 'number' && defects > 0) {
        lines.push(`${defects} exceptions of the program itself were survived: proxy logs has them as defect`);
      }
      const dropped = top['dropped_log_lines'];
      if (typeof dropped === 'number' && dropped > 0)
        lines.push(`${dropped} log lines were lost: nobody read them in time`);
      const { zombies } = top;
      if (typeof zombies === 'number' && zombies > 0)
        lines.push(
          `${zombies} ${zombies === 1 ? 'zombie' : 'zombies'}: we are PID 1, and nobody buries orphans; start us under an init`,
        );
      return lines;
    },

    service: (service: Fields): readonly string[] => {
      const traffic = fields(service['traffic']);
      const rate = (key: string): string => (typeof traffic[key] === 'number' ? traffic[key].toFixed(1) : '-');
      const ms = (key: string): string => (typeof traffic[key] === 'number' ? `${traffic[key]} ms` : '-');
      const workers = each(service['workers']).length + each(service['upstreams']).length;
      const { name, id } = fields(service['release']);
      return [
        text(service['name']),
        state(fields(service['held'])['admission'] ?? service['state'] ?? (service['ready'] === 0 ? 'down' : 'up')),
        `${text(service['ready'])} of ${workers}`,
        rate('requests_per_second'),
        rate('errors_per_second'),
        ms('p50_ms'),
        ms('p95_ms'),
        ms('p99_ms'),
        text(traffic['queued']),
        text(name ?? id),
        step(service, age),
      ];
    },

    worker: (row: Fields): readonly string[] => {
      const next = typeof row['next_start_at'] === 'string' ? `, next ${until(row['next_start_at'])}` : '';
      return [
        text(row['id']),
        `${state(row['state'])}${next}`,
        text(row['pid']),
        age(row['started_at']),
        text(row['in_flight']),
        size(row['memory']),
        percent(row['cpu']),
        restarts(row),
        text(row['lost_lines']),
        row['waits_for'] === null || row['waits_for'] === undefined ? lastExit(row) : text(row['waits_for']),
      ];
    },

    scaling: (service: Fields): readonly (readonly string[])[] => {
      const scaling = fields(service['scaling']);
      if (scaling['type'] !== 'load' && scaling['overridden'] !== true) return [];
      const last = fields(scaling['last']);
      return [
        [
          text(service['name']),
          String(each(service['workers']).length),
          `${text(scaling['min'])} to ${text(scaling['max'])}`,
          ...[last['cpu'], last['busy'], last['host_cpu']].map(percent),
          age(last['at']),
          scaling['overridden'] === true ? 'proxy scale' : text(last['reason']),
        ],
      ];
    },

    certificate: (row: Fields): readonly string[] => {
      const { not_after: end, next_attempt_at: attempt, renew_at: due } = row;
      const left = typeof end === 'string' ? Date.parse(end) - now : null;
      const shown = left === null ? 'none yet' : left > 0 ? formatAge(left) : 'expired';
      const tone = left === null || left <= 0 ? 'bad' : left < SOON_MS ? 'warn' : 'good';
      const next =
        typeof attempt === 'string'
          ? `tried ${until(attempt)}`
          : typeof due === 'string'
            ? `renewed ${until(due)}`
            : '-';
      return [text(row['name']), text(row['issuer']), paint(tone, shown), next, text(row['last_error'])];
    },
  };
}

function fields(value: unknown): Fields {
  return isRecord(value) ? value : {};
}

function each(value: unknown): readonly Fields[] {
  return Array.isArray(value) ? value.map(fields) : [];
}

function text(value: unknown): string {
  if (value === null || value === undefined) return '-';
  // Names and reasons come from outside: none may move a cursor.
  return escapeControls(Array.isArray(value) ? value.join(' ') : String(value));
}

function size(bytes: unknown): string {
  if (typeof bytes !== 'number') return '-';
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}

function percent(share: unknown): string {
  return typeof share === 'number' ? `${(share * 100).toFixed(0)} %` : '-';
}

/** `3 (boot 2, oom 1)` */
function restarts(row: Fields): string {
  const reasons = Object.entries(fields(row['restarts_by_reason'])).map(
    ([reason, count]) => `${reason} ${text(count)}`,
  );
  return reasons.length === 0 ? text(row['restarts']) : `${text(row['restarts'])} (${reasons.join(', ')})`;
}

/** `signal SIGKILL (oom)` */
function lastExit(row: Fields): string {
  const { last_exit: exit, last_exit_reason: reason } = row;
  return exit === null || reason === undefined ? text(exit) : `${text(exit)} (${text(reason)})`;
}

/** What a service is at, or why it is not. */
function step(service: Fields, age: (at: unknown) => string): string {
  const { step: name, number, of, attempt, started_at: since } = fields(service['prestart']);
  if (service['waits_for_another_instance'] === true) return 'another instance prepares a release';
  if (name === undefined) return text(service['problem']);
  const again = attempt === 1 ? '' : `, attempt ${text(attempt)}`;
  return `step ${text(name)} (${text(number)} of ${text(of)})${again} since ${age(since)}`;
}
