/** What is true now, drawn anew each time it is told. */
import { byId, element, fillTable } from './dom.ts';
import { bytes, milliseconds, percent, rate, since, span } from './format.ts';
import type { CertificateView, LoggedEvent, Sample, ServiceView, Status, WorkerView } from './model.ts';

const SVG = 'http://www.w3.org/2000/svg';
/** Events that are kept on the page. */
const SHOWN = 200;

export function drawStatus(status: Status, latest: Sample | undefined): void {
  byId('about').textContent =
    `${status.version}, pid ${status.pid}, up ${since(status.started_at)}, ${status.configuration}`;
  drawProblems(status);
  byId('service-cards').replaceChildren(...status.services.map((service) => card(service, latest)));
  const workers = status.services.flatMap((service) => service.workers);
  fillTable<WorkerView>(
    byId('workers'),
    'Workers',
    [
      { title: 'Worker', cell: ({ id }) => id },
      { title: 'State', cell: ({ state }) => stateOf(state) },
      { title: 'Pid', number: true, cell: ({ pid }) => String(pid ?? '–') },
      { title: 'Age', number: true, cell: ({ started_at: at }) => since(at) },
      { title: 'In flight', number: true, cell: (worker) => String(worker.in_flight) },
      { title: 'Memory', number: true, cell: ({ memory }) => bytes(memory) },
      { title: 'CPU', number: true, cell: ({ cpu }) => percent(cpu) },
      { title: 'Restarts', cell: restartsOf },
      { title: 'Last exit', cell: (worker) => worker.last_exit ?? '–' },
    ],
    workers,
  );
  fillTable(
    byId('listeners'),
    'Entrypoints',
    [
      { title: 'Entrypoint', cell: ({ name }) => name },
      { title: 'Address', cell: ({ address }) => address },
      { title: 'TLS', cell: ({ tls }) => (tls ? 'yes' : 'no') },
    ],
    status.listeners,
  );
  fillTable(
    byId('proxies'),
    'Proxies',
    [
      { title: 'Proxy', cell: ({ slot }) => String(slot) },
      { title: 'State', cell: ({ state }) => stateOf(state) },
      { title: 'Pid', number: true, cell: ({ pid }) => String(pid ?? '–') },
      { title: 'Age', number: true, cell: ({ started_at: at }) => since(at) },
      { title: 'Connections', number: true, cell: ({ connections }) => String(connections) },
      { title: 'Requests', number: true, cell: ({ requests }) => String(requests) },
      { title: 'Restarts', number: true, cell: ({ restarts }) => String(restarts) },
    ],
    status.proxies,
  );
  byId('certificates').replaceChildren(...status.certificates.map(life));
}

/** The latest first. */
export function drawEvent(event: LoggedEvent): void {
  const list = byId('events');
  const { time, level, event: name, ...fields } = event;
  const told = Object.entries(fields)
    .filter(([, value]) => value !== null)
    .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ');
  const tone = level === 'error' ? 'bad' : level === 'warn' ? 'warn' : '';
  list.prepend(
    element(
      'li',
      {},
      element('time', { class: 'soft', datetime: time, title: time }, new Date(time).toLocaleTimeString()),
      element('strong', { class: tone }, name),
      element('span', {}, told),
    ),
  );
  while (list.childElementCount > SHOWN) list.lastElementChild?.remove();
}

function drawProblems(status: Status): void {
  const problems = [
    ...status.services.flatMap(({ name, ready, held }) =>
      held === null
        ? ready === 0
          ? `${name} has no ready worker`
          : []
        : `${name} is ${held.admission}: ${held.message}`,
    ),
    ...status.certificates.flatMap(({ name, last_error: error }) =>
      error === null ? [] : `certificate ${name}: ${error}`,
    ),
  ];
  const section = byId('problems');
  section.hidden = problems.length === 0;
  // An unchanged list is not read out again.
  if (section.dataset['told'] === problems.join('\n')) return;
  section.dataset['told'] = problems.join('\n');
  section.replaceChildren(...problems.map((problem) => element('p', {}, problem)));
}

function card({ name, state, held, ready, workers, upstreams }: ServiceView, latest: Sample | undefined): HTMLElement {
  const now = latest?.services[name];
  const count = workers.length === 0 ? `${ready} of ${upstreams.length} upstreams` : `${ready} of ${workers.length}`;
  const facts: readonly (readonly [string, string])[] = [
    ['workers', count],
    ['requests/s', rate(now?.requests ?? 0)],
    ['95 %', milliseconds(now?.p95 ?? null)],
    ['errors/s', rate(now?.errors ?? 0)],
    ['in flight', String(now?.inFlight ?? 0)],
    ['waiting', String(now?.queued ?? 0)],
  ];
  return element(
    'article',
    { class: 'card', 'data-service': name },
    element('h3', {}, name, stateOf(held?.admission ?? state ?? (ready > 0 ? 'up' : 'down'))),
    element('dl', {}, ...facts.flatMap(([term, fact]) => [element('dt', {}, term), element('dd', {}, fact)])),
  );
}

const GOOD = ['up', 'ready'];
const BAD = ['down', 'failed', 'fatal', 'backoff', 'unhealthy'];

function stateOf(state: string): HTMLElement {
  const tone = GOOD.includes(state) ? 'good' : BAD.includes(state) ? 'bad' : 'warn';
  return element('span', { class: tone }, state);
}

function restartsOf({ restarts, restarts_by_reason: reasons }: WorkerView): string {
  if (restarts === 0) return '0';
  return Object.entries(reasons)
    .map(([reason, count]) => `${count} ${reason}`)
    .join(', ');
}

/** From when it is valid until when, with what of it is over and when it is renewed. */
function life({ name, issuer, not_before: from, not_after: until, renew_at: due }: CertificateView): HTMLElement {
  if (from === null || until === null) {
    return element('li', {}, element('span', {}, name), element('span', { class: 'bad' }, 'none yet'), issuer);
  }
  const [begin, end] = [Date.parse(from), Date.parse(until)];
  const part = (at: number): number => Math.min(100, Math.max(0, ((at - begin) / (end - begin)) * 100));
  const spent = part(Date.now());
  const left = end - Date.now();
  const told = left > 0 ? `${span(left)} left` : `expired ${span(-left)} ago`;
  const bar = document.createElementNS(SVG, 'svg');
  for (const [key, value] of [
    ['class', 'life'],
    ['viewBox', '0 0 100 10'],
    ['preserveAspectRatio', 'none'],
    ['role', 'img'],
    ['aria-label', `${Math.round(spent)} % of its life is over`],
  ] as const) {
    bar.setAttribute(key, value);
  }
  const dueAt = due === null ? end : Date.parse(due);
  const tone = left <= 0 ? 'over' : Date.now() >= dueAt ? 'due' : 'spent';
  bar.append(box('', 0, 100), box(tone, 0, spent), box('due', part(dueAt), 0.6));
  const next = due === null ? '' : `, renewed from ${new Date(due).toLocaleDateString()}`;
  return element('li', {}, element('span', {}, name), bar, element('span', { class: 'soft' }, `${told}${next}`));
}

function box(name: string, x: number, width: number): SVGElement {
  const rect = document.createElementNS(SVG, 'rect');
  rect.setAttribute('class', name);
  rect.setAttribute('x', String(x));
  rect.setAttribute('width', String(width));
  rect.setAttribute('height', '10');
  return rect;
}
