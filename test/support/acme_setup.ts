/** An issuer against a real CA behind the shim, with http-01 answered by the test: no daemon, nothing kept unless wanted. */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { startShim } from './acme_shim.ts';
import type { Shim, ShimOptions } from './acme_shim.ts';
import { startPebble } from './pebble.ts';
import type { Pebble, PebbleOptions } from './pebble.ts';
import { createIssuer } from '../../src/certificates/acme/issuer.ts';
import { createTrialLedger } from '../../src/certificates/ledger.ts';
import type { IssuedMeta, Issuer, IssuerOptions, Obtained, ObtainRequest } from '../../src/certificates/acme/issuer.ts';
import type { Certificate } from '../../src/certificates/certificate.ts';
import type { Ledger, OrderIntent, Verdict } from '../../src/certificates/ledger.ts';
import type { Challenge, Solver } from '../../src/certificates/solvers/solver.ts';
import { createMemoryStorage } from '../../src/certificates/storage/memory_storage.ts';
import type { Storage } from '../../src/certificates/storage/storage.ts';
import type { IssuerConfig } from '../../src/config/config.ts';
import { createLogger } from '../../src/log.ts';

export interface Answers extends AsyncDisposable {
  readonly port: number;
  readonly solver: Solver;
  /** By token, what is answered now. */
  readonly armed: ReadonlyMap<string, string>;
  /** Every challenge ever armed. */
  readonly seen: readonly Challenge[];
  /** How often the CA asked. */
  hits(): number;
  /** null: what was armed. */
  answerWith(body: string | null): void;
}

/** A tiny server for http-01, with the solver that arms it. */
export async function startAnswers(): Promise<Answers> {
  const armed = new Map<string, string>();
  const seen: Challenge[] = [];
  let hits = 0;
  let instead: string | null = null;
  const server = http.createServer((request, response) => {
    hits++;
    const body = armed.get(request.url?.replace('/.well-known/acme-challenge/', '') ?? '');
    response.writeHead(body === undefined ? 404 : 200).end(instead ?? body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    armed,
    seen,
    hits: () => hits,
    answerWith: (body) => void (instead = body),
    solver: {
      type: 'http-01',
      solves: (_, wildcard) => !wildcard,
      arm: async (challenge) => {
        seen.push(challenge);
        armed.set(challenge.token, challenge.keyAuthorization);
      },
      disarm: async ({ token }) => void armed.delete(token),
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export interface RecordingLedger extends Ledger {
  /** One line by call: `ordered a.example`, `parked issuer 1700000000000`. */
  readonly calls: readonly string[];
  readonly intents: readonly OrderIntent[];
  /** The next verdicts. */
  refuseOrders(verdict: Verdict): void;
  refuseAccounts(verdict: Verdict): void;
}

export function createRecordingLedger(): RecordingLedger {
  const calls: string[] = [];
  const intents: OrderIntent[] = [];
  let order: Verdict = { ok: true };
  let account: Verdict = { ok: true };
  return {
    ...createTrialLedger(),
    calls,
    intents,
    refuseOrders: (verdict) => void (order = verdict),
    refuseAccounts: (verdict) => void (account = verdict),
    mayOrder: async (intent) => {
      intents.push(intent);
      return order;
    },
    ordered: async ({ names }) => void calls.push(`ordered ${names.join(' ')}`),
    issued: async ({ names }) => void calls.push(`issued ${names.join(' ')}`),
    validationFailed: async (_, name) => void calls.push(`failed ${name}`),
    parked: async (_, names, until) => void calls.push(`parked ${names?.join(' ') ?? 'issuer'} ${until}`),
    accountCreated: async () => void calls.push('account'),
    mayCreateAccount: async () => account,
  };
}

export interface Installed {
  readonly certificate: Certificate;
  readonly about: IssuedMeta;
}

export interface Setup extends AsyncDisposable {
  readonly pebble: Pebble;
  readonly shim: Shim;
  readonly answers: Answers;
  readonly issuer: Issuer;
  readonly config: IssuerConfig;
  readonly storage: Storage;
  readonly ledger: RecordingLedger;
  /** What `install` got. */
  readonly installed: readonly Installed[];
  /** Events as they were logged. */
  events(name: string): readonly Record<string, unknown>[];
  obtain(
    hosts: readonly string[] | string,
    more?: Partial<ObtainRequest>,
  ): Promise<Extract<Obtained, { outcome: 'obtained' }>>;
  /** Another issuer on the same storage, as after a restart. */
  restart(more?: Partial<IssuerOptions>): Issuer;
}

export interface SetupOptions {
  readonly pebble?: Partial<PebbleOptions>;
  readonly shim?: ShimOptions;
  readonly issuer?: Partial<IssuerConfig>;
  readonly solvers?: (answers: Answers) => readonly Solver[];
  readonly options?: Partial<IssuerOptions>;
}

export async function startSetup(setup: SetupOptions = {}): Promise<Setup> {
  // What was started ends when the rest cannot be.
  await using begun = new AsyncDisposableStack();
  const answers = begun.use(await startAnswers());
  // Requests are counted: nonces are refused only where a test says so.
  const env = { PEBBLE_WFE_NONCEREJECT: '0', ...setup.pebble?.env };
  const pebble = begun.use(await startPebble({ httpPort: answers.port, ...setup.pebble, env }));
  const shim = begun.use(await startShim(pebble, setup.shim));
  const lines: string[] = [];
  const log = createLogger({ level: 'debug', format: 'json', write: (line) => void lines.push(line) });
  const storage = setup.options?.storage ?? createMemoryStorage();
  const ledger = createRecordingLedger();
  const installed: Installed[] = [];
  const config: IssuerConfig = {
    ca: shim.directoryUrl,
    testCa: shim.directoryUrl,
    trustedRoots: [shim.trustedRoot],
    profile: null,
    eab: null,
    preferredChain: null,
    ...setup.issuer,
  };
  const restart = (more: Partial<IssuerOptions> = {}): Issuer =>
    createIssuer({
      storage,
      ledger,
      log,
      solvers: setup.solvers?.(answers) ?? [answers.solver],
      ...setup.options,
      ...more,
    });
  const issuer = restart();
  const running = begun.move();
  return {
    pebble,
    shim,
    answers,
    issuer,
    config,
    storage,
    ledger,
    installed,
    restart,
    events: (name) =>
      lines.map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ event }) => event === name),
    obtain: async (hosts, more = {}) => {
      const list = typeof hosts === 'string' ? [hosts] : hosts;
      const install: ObtainRequest['install'] = async (certificate, about) =>
        void installed.push({ certificate, about });
      const obtained = await issuer.obtain({ ...requestFor(list, config), install, ...more });
      if (obtained.outcome !== 'obtained') throw new Error(`nothing was obtained: ${obtained.outcome}`);
      return obtained;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

export function requestFor(hosts: readonly string[], issuer: IssuerConfig): ObtainRequest {
  return {
    name: hosts[0] ?? '',
    hosts,
    issuer,
    email: 'ops@example.com',
    challenges: ['http-01', 'tls-alpn-01', 'dns-01', 'dns-persist-01'],
    keyType: 'p256',
    reuseKey: null,
    replaces: null,
    currentSerial: null,
    exempt: false,
    force: false,
    lifeMs: null,
    signal: new AbortController().signal,
    stillNeeded: () => Promise.resolve(true),
    install: () => Promise.resolve(),
  };
}
