/** What happens to certificates, as an operator would want to hear it. */
import type { AlarmLevel } from './renewal.ts';
import type { Managed } from './sources/source.ts';
import type { LogLevel } from '../log.ts';

export type CertificateEvent =
  | { readonly type: 'obtained'; readonly item: Managed; readonly durationMs: number }
  /** Another instance or an operator put it there. */
  | { readonly type: 'taken_up'; readonly item: Managed }
  | { readonly type: 'failed'; readonly item: Managed; readonly code: number; readonly reason: string }
  /** Long past the time it should have been renewed at. */
  | { readonly type: 'expiring'; readonly item: Managed; readonly level: Exclude<AlarmLevel, 'none'> }
  /** Clients are shown another one; null: none. */
  | { readonly type: 'not_served'; readonly item: Managed; readonly served: string | null };

const LOUDNESS: Readonly<Record<Exclude<AlarmLevel, 'none'>, LogLevel>> = {
  low: 'info',
  high: 'warn',
  critical: 'error',
  expired: 'error',
};

export function describeEvent(event: CertificateEvent): {
  readonly level: LogLevel;
  readonly name: string;
  readonly fields: Readonly<Record<string, unknown>>;
} {
  const { name, certificate, order, attempts } = event.item;
  const serial = certificate?.serial ?? null;
  const not_after = certificate === null ? null : new Date(certificate.notAfter).toISOString();
  switch (event.type) {
    case 'obtained': {
      const fields = { name, issuer: order?.issuer ?? null, serial, not_after, duration_ms: event.durationMs };
      return { level: 'info', name: 'certificate_obtained', fields };
    }
    case 'taken_up':
      return { level: 'info', name: 'certificate_taken_up', fields: { name, serial, not_after } };
    case 'failed': {
      const fields = { name, code: event.code, error: event.reason, failures: attempts?.failures ?? 0, not_after };
      return { level: 'error', name: 'certificate_failed', fields };
    }
    case 'expiring': {
      const fields = { name, alarm: event.level, not_after, error: attempts?.error ?? null };
      return { level: LOUDNESS[event.level], name: 'certificate_expiring', fields };
    }
    case 'not_served':
      return { level: 'error', name: 'certificate_not_served', fields: { name, serial, served: event.served } };
  }
}
