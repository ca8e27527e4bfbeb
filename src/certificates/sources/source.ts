/** Where certificates come from: a CA, our own CA, or files an operator keeps. */
import type { Certificate } from '../certificate.ts';
import type { RenewalResult } from '../outcome.ts';
import type { AriRecord, Attempts, Decision, Held } from '../renewal.ts';

/** One certificate that is to be there: a site's. What is not read-only changes with what is known of it. */
export interface Managed {
  readonly mode: 'acme' | 'internal' | 'files';
  /** What operators call it: its site's first host. */
  readonly name: string;
  readonly hosts: readonly string[];
  readonly files: { readonly certificate: string; readonly key: string } | null;
  certificate: Certificate | null;
  /** How it was ordered; null when there is none or others did. */
  order: Held['order'];
  attempts: Attempts | null;
  /** What the CA said of this certificate, and when it wants to be asked again (0: now; Infinity: never). */
  ari: AriRecord | null;
  ariPollAt: number;
}

export interface RenewRequest {
  /** Renewed although it is not due. */
  readonly force: boolean;
  /** Its key may be known to others: none is kept. */
  readonly freshKey?: boolean;
}

export interface Source {
  /** Takes up what is there; never rejects. */
  load(item: Managed): Promise<void>;
  /** Whether somebody else (another instance, an operator) put another certificate in its place since. */
  changed(item: Managed): Promise<boolean>;
  decide(item: Managed, now: number): Decision;
  /** Never rejects: what went wrong is in the result and in `item.attempts`. */
  renew(item: Managed, request: RenewRequest): Promise<RenewalResult>;
}
