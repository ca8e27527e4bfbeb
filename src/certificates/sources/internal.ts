/** Certificates of our own CA, for names no public one vouches for. */
import { openInternalCa } from '../internal_ca.ts';
import { decide } from '../renewal.ts';
import type { Wanted } from '../renewal.ts';
import type { CertificateStore } from '../store.ts';
import type { Managed, Source } from './source.ts';
import { describeError } from '../../log.ts';
import type { Logger } from '../../log.ts';

const INTERNAL = 'internal';

export function createInternalSource(store: CertificateStore, log: Logger): Source {
  const wantedOf = ({ hosts }: Managed): Wanted => ({ names: hosts, keyType: 'p256', profile: null, issuers: [] });
  return {
    load: async (item) => {
      const { certificate, problems } = await store.load(INTERNAL, item.name);
      for (const problem of problems) log.warn('certificate_damaged', { name: item.name, problem });
      item.certificate = certificate !== null && certificate.notAfter > Date.now() ? certificate : null;
    },
    changed: () => Promise.resolve(false),
    decide: (item, now) => {
      const { certificate, attempts } = item;
      const held = certificate === null ? null : { ...certificate, order: null };
      return decide({ now, wanted: wantedOf(item), held, ari: null, attempts });
    },
    renew: async (item) => {
      const { name } = item;
      try {
        const now = Date.now();
        const certificate = (await openInternalCa(store.storage, now)).issue(item.hosts, now);
        await store.save(INTERNAL, name, certificate, null);
        item.certificate = certificate;
        item.attempts = null;
        log.info('certificate_issued', { name, issuer: INTERNAL, serial: certificate.serial });
        return { name, outcome: 'renewed', code: 0, serial: certificate.serial };
      } catch (error) {
        const failures = (item.attempts?.failures ?? 0) + 1;
        const fixed = { code: 7, retryAt: null, needsOperator: false, wish: '' };
        item.attempts = { ...fixed, failures, lastAttemptAt: Date.now(), error: describeError(error) };
        log.error('certificate_failed', { name, issuer: INTERNAL, error });
        return { name, outcome: 'failed', code: 7, reason: describeError(error) };
      }
    },
  };
}
