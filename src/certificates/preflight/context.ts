/** What every check is given: the certificates' names, the configuration, and what is looked up once for all of them. */
import type { DirectoryOutcome } from './directory.ts';
import type { Slots } from '../../pace.ts';
import type { Answer, NameResolver } from './resolver.ts';
import type { Finding } from './finding.ts';
import type { AcmeConfig, IssuerConfig } from '../../config/config.ts';
import type { Ledger } from '../ledger.ts';

/** Has the live proxies answer http-01's path for `token` with `value`; the function it returns ends that. */
export type ArmProbe = (token: string, value: string) => Promise<() => Promise<void>>;

/** By which ports clients reach the entrypoints; null: there is none of the kind. */
export interface PublicPorts {
  readonly http: number | null;
  readonly https: number | null;
}

export interface WantedCertificate {
  /** What operators call it. */
  readonly name: string;
  readonly hosts: readonly string[];
  /** When the real one is to be renewed, in milliseconds since the epoch; without: now. */
  readonly dueAt?: number;
  /** Of the real one, in milliseconds. */
  readonly lifeMs?: number;
}

export interface PreflightOptions {
  readonly certificates: readonly WantedCertificate[];
  readonly acme: Pick<AcmeConfig, 'challenges' | 'resolvers' | 'publicAddresses'>;
  /** Who is to issue: its profile and account binding, and the roots trusted when talking to CAs. */
  readonly issuer: IssuerConfig;
  /** Of the CA that will be asked; no other CA is contacted. */
  readonly directoryUrl: string;
  /** Our account at `issuer.ca`; null: there is none yet. */
  readonly accountUrl: string | null;
  /** The terms of service that were agreed to when it was made; null: not known. */
  readonly agreedTerms: string | null;
  readonly ports: PublicPorts;
  readonly armProbe: ArmProbe;
  /** null: nothing is kept in files. */
  readonly stateDirectory: string | null;
  /** null: nobody counts orders. */
  readonly ledger: Ledger | null;
  /** Of this machine's interfaces. */
  readonly localAddresses?: readonly string[];
  readonly now?: () => number;
  readonly signal: AbortSignal;
}

export interface HostAddresses {
  readonly v4: Answer<string>;
  readonly v6: Answer<string>;
}

export interface CheckContext extends Required<PreflightOptions> {
  readonly limit: Slots;
  readonly resolver: NameResolver;
  /** Work that is the same for all certificates: done for the first that asks. */
  once<T>(work: (context: CheckContext) => Promise<T>): Promise<T>;
  /** Asked once for each host. */
  addressesOf(host: string): Promise<HostAddresses>;
  directory(): Promise<DirectoryOutcome>;
  /** What is armed while the checks run; made when it is first asked for. */
  probe(): Promise<{ readonly token: string; readonly value: string }>;
}

/** One question about one certificate. It never writes anything, and only `signal` makes it reject. */
export type Check = (certificate: WantedCertificate, context: CheckContext) => Promise<readonly Finding[]>;
