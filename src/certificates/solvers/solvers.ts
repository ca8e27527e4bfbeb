/** The ways to show control that the configuration names, ready for use. */
import type { AnswerBoard } from './answer_board.ts';
import { createDns01, removeLeftRecords } from './dns01.ts';
import type { RecordEditor } from './dns01.ts';
import { createDnsLookup } from './dns_lookup.ts';
import type { DnsLookup } from './dns_lookup.ts';
import { createDnsPersist01 } from './dns_persist01.ts';
import { createExecHook } from './exec_hook.ts';
import { createHttp01 } from './http01.ts';
import { removeExpiredAnswers } from './kept_answers.ts';
import { createRfc2136 } from './rfc2136.ts';
import type { Solver } from './solver.ts';
import { createTlsAlpn01 } from './tls_alpn01.ts';
import type { Storage } from '../storage/storage.ts';
import type { AcmeConfig, DnsConfig } from '../../config/config.ts';
import type { Logger } from '../../log.ts';

export interface SolversOptions {
  readonly acme: Pick<AcmeConfig, 'challenges' | 'dns' | 'resolvers'>;
  /** Of a trial: one that forgets. */
  readonly storage: Storage;
  /** The daemon's one. */
  readonly board: AnswerBoard;
  readonly log: Logger;
  /** Whether an entrypoint without TLS, and one with, is there for CAs to ask. */
  readonly entrypoints: readonly { readonly tls: boolean }[];
  /** What commands of the operator's inherit. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** In the configuration's order of preference; those nothing listens for are left out. */
export function createSolvers(options: SolversOptions): readonly Solver[] {
  const { acme, entrypoints } = options;
  const lookup = createDnsLookup({ resolvers: acme.resolvers });
  return acme.challenges.flatMap((type): Solver | readonly Solver[] => {
    switch (type) {
      case 'http-01':
        return entrypoints.some(({ tls }) => !tls) ? createHttp01(options) : [];
      case 'tls-alpn-01':
        return entrypoints.some(({ tls }) => tls) ? createTlsAlpn01(options) : [];
      case 'dns-01': {
        if (acme.dns === null) return [];
        const { propagationTimeoutMs } = acme.dns;
        const editor = createEditor(acme.dns, lookup, options.env);
        return createDns01({ ...options, editor, lookup, propagationTimeoutMs });
      }
      case 'dns-persist-01':
        return createDnsPersist01({ lookup });
    }
  });
}

/** What instances that died have left behind: for the start of one. Never rejects. */
export async function removeLeftovers({ acme, storage, log, env }: LeftoversOptions): Promise<void> {
  try {
    await removeExpiredAnswers(storage, Date.now());
    if (acme !== null) await removeRecords(acme, storage, log, env);
  } catch (error) {
    log.warn('challenges_not_cleaned', { error });
  }
}

export type LeftoversOptions = Pick<SolversOptions, 'storage' | 'log' | 'env'> & {
  readonly acme: SolversOptions['acme'] | null;
};

async function removeRecords(
  acme: SolversOptions['acme'],
  storage: Storage,
  log: Logger,
  env: SolversOptions['env'],
): Promise<void> {
  if (acme.dns === null) return;
  const editor = createEditor(acme.dns, createDnsLookup({ resolvers: acme.resolvers }), env);
  await removeLeftRecords(editor, storage, log, Date.now());
}

function createEditor({ method }: DnsConfig, lookup: DnsLookup, env: SolversOptions['env']): RecordEditor {
  return method.type === 'exec' ? createExecHook({ ...method, env }) : createRfc2136({ ...method, lookup });
}
