/** Everything that can be known before a CA is asked for a certificate, and that would make it fail. Nothing is written. */
import { randomBytes } from 'node:crypto';
import os from 'node:os';
import { checkAddresses } from './addresses.ts';
import { checkBudget } from './budget.ts';
import { checkCa, checkClock, checkProfile } from './ca_checks.ts';
import { checkCaa } from './caa_check.ts';
import type { Check, CheckContext, HostAddresses, PreflightOptions, WantedCertificate } from './context.ts';
import { fetchDirectory } from './directory.ts';
import type { Finding } from './finding.ts';
import { createSlots } from '../../pace.ts';
import { checkNames } from './names.ts';
import { createNameResolver } from './resolver.ts';
import { checkSelfProbe } from './self_probe.ts';
import { checkStorage } from './storage_check.ts';

/** In the order in which they are told. */
const CHECKS: readonly Check[] = [
  checkNames,
  checkAddresses,
  checkCaa,
  checkSelfProbe,
  checkCa,
  checkProfile,
  checkClock,
  checkStorage,
  checkBudget,
];
/** Questions to the network at once. */
const CONCURRENCY = 16;

export interface CertificateFindings {
  readonly certificate: WantedCertificate;
  readonly findings: readonly Finding[];
}

/** Rejects with the reason of `signal`, everything disarmed. */
export async function runPreflight(options: PreflightOptions): Promise<readonly CertificateFindings[]> {
  const { signal } = options;
  let disarm: Promise<() => Promise<void>> | null = null;
  // The first check that fails in a way nobody expected ends the others, too.
  const failed = new AbortController();
  const context = createContext({ ...options, signal: AbortSignal.any([signal, failed.signal]) }, (armed) => {
    disarm = armed;
  });
  const work = options.certificates.map(async (certificate) => {
    const findings = await Promise.all(CHECKS.map((check) => check(certificate, context)));
    return { certificate, findings: findings.flat() };
  });
  try {
    return await Promise.all(work);
  } catch (error) {
    failed.abort(error);
    signal.throwIfAborted();
    throw error;
  } finally {
    await Promise.allSettled(work);
    await disarmed(disarm);
  }
}

function createContext(options: PreflightOptions, onArm: (disarm: Promise<() => Promise<void>>) => void): CheckContext {
  const { acme, signal } = options;
  const limit = createSlots(CONCURRENCY);
  const resolver = createNameResolver(acme.resolvers, signal);
  const addresses = new Map<string, Promise<HostAddresses>>();
  const done = new Map<unknown, Promise<unknown>>();
  const lookUp = async (host: string): Promise<HostAddresses> => {
    const [v4, v6] = await Promise.all([
      limit(() => resolver.addresses4(host)),
      limit(() => resolver.addresses6(host)),
    ]);
    return { v4, v6 };
  };
  const arm = async (): Promise<{ readonly token: string; readonly value: string }> => {
    const [token, value] = [randomBytes(24).toString('base64url'), randomBytes(32).toString('base64url')];
    const armed = options.armProbe(token, value);
    onArm(armed);
    await armed;
    return { token, value };
  };
  const context: CheckContext = {
    ...options,
    localAddresses: options.localAddresses ?? addressesOfThisMachine(),
    now: options.now ?? Date.now,
    limit,
    resolver,
    addressesOf: (host) => {
      let found = addresses.get(host);
      if (found === undefined) addresses.set(host, (found = lookUp(host)));
      return found;
    },
    once: <T>(work: (of: CheckContext) => Promise<T>) => {
      // What is kept by a function is what that function gives.
      const known = done.get(work) as Promise<T> | undefined;
      const promise = known ?? work(context);
      done.set(work, promise);
      return promise;
    },
    directory: () => context.once(fetchDirectory),
    probe: () => context.once(arm),
  };
  return context;
}

function addressesOfThisMachine(): string[] {
  return Object.values(os.networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
}

async function disarmed(armed: Promise<() => Promise<void>> | null): Promise<void> {
  const disarm = await armed?.catch(() => null);
  await disarm?.();
}
