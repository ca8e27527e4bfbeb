/** Listens to the daemon and has it drawn. */
import { createCharts } from './charts.ts';
import { byId, element } from './dom.ts';
import type { LoggedEvent, Sample, Status } from './model.ts';
import { drawEvent, drawStatus } from './view.ts';

/** Of an hour, one each 5 s. */
const MAX_SAMPLES = 720;

let samples: Sample[] = [];
let chosen: string | null = null;
const charts = createCharts(byId('charts'));

function choose(names: readonly string[]): void {
  const fieldset = byId('choice');
  const known = ['', ...names].join();
  if (fieldset.dataset['known'] === known) return;
  fieldset.dataset['known'] = known;
  if (chosen !== null && !names.includes(chosen)) chosen = null;
  fieldset.querySelectorAll('label').forEach((label) => label.remove());
  for (const name of [null, ...names]) {
    const radio = element('input', { type: 'radio', name: 'service' });
    radio.checked = name === chosen;
    radio.addEventListener('change', () => {
      chosen = name;
      charts.draw(samples, chosen);
    });
    fieldset.append(element('label', {}, radio, ` ${name ?? 'all'}`));
  }
}

function tell(state: 'live' | 'lost', text: string): void {
  const link = byId('link');
  if (link.dataset['state'] === state) return;
  link.dataset['state'] = state;
  link.textContent = text;
}

// It comes again by itself when the connection is lost.
const feed = new EventSource('/dashboard/feed');
const on = (event: string, then: (data: unknown) => void): void =>
  feed.addEventListener(event, ({ data }: MessageEvent<string>) => then(JSON.parse(data)));

on('history', (data) => {
  // The daemon is the same build as this page.
  const history = data as { samples: Sample[]; events: LoggedEvent[] };
  samples = history.samples;
  byId('events').replaceChildren();
  for (const event of history.events) drawEvent(event);
  charts.draw(samples, chosen);
});
on('status', (data) => {
  const status = data as Status;
  tell('live', 'live');
  choose(status.services.map(({ name }) => name));
  drawStatus(status, samples.at(-1));
});
on('sample', (data) => {
  samples.push(data as Sample);
  if (samples.length > MAX_SAMPLES) samples.shift();
  charts.draw(samples, chosen);
});
on('event', (data) => drawEvent(data as LoggedEvent));
feed.addEventListener('error', () => tell('lost', 'the daemon does not answer: what is shown is old'));
