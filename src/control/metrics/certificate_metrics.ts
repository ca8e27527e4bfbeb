/** Certificates, and above all until when what clients see is valid. */
import type { ControlPlane } from '../plane.ts';
import { counter, gauge } from './families.ts';
import type { Family, Row } from './families.ts';

export function certificateMetrics({ certificates }: Pick<ControlPlane, 'certificates'>): readonly Family[] {
  const all = certificates.status();
  const { obtained, failed } = certificates.renewals();
  return [
    gauge(
      'proxy_certificate_not_after_timestamp_seconds',
      'End of a certificate\'s life, in seconds since the epoch: of what was shown when it was last looked (source "served"), or where that cannot be looked at, of what is kept ("kept")',
      ['name', 'source'],
      all.flatMap(({ name, notAfter, servedAt, servedNotAfter }): Row[] => {
        if (servedNotAfter !== null) return [[servedNotAfter / 1_000, name, 'served']];
        return servedAt === null && notAfter !== null ? [[notAfter / 1_000, name, 'kept']] : [];
      }),
    ),
    gauge(
      'proxy_certificate_served',
      '1 if clients are shown the certificate they should be, 0 if another or none, as last looked',
      ['name'],
      all.flatMap(({ name, serial, servedSerial, servedAt }): Row[] =>
        servedAt === null ? [] : [[serial !== null && servedSerial === serial ? 1 : 0, name]],
      ),
    ),
    gauge(
      'proxy_certificate_missing',
      '1 while a site that needs a certificate has none',
      ['name'],
      all.map(({ name, serial }) => [serial === null ? 1 : 0, name]),
    ),
    gauge(
      'proxy_certificate_renewal_failing',
      '1 while the last attempt to obtain it failed',
      ['name'],
      all.map(({ name, lastError }) => [lastError === null ? 0 : 1, name]),
    ),
    counter(
      'proxy_certificate_renewals_total',
      'Certificates obtained, and attempts that failed',
      ['result'],
      [
        [obtained, 'done'],
        [failed, 'failed'],
      ],
    ),
  ];
}
