/** What a policy is: something a site can ask for, said once per route and then applied to its requests and answers. */
import type { Failure } from '../failure.ts';
import type { RequestHead } from '../http1/request_head.ts';
import type { UpstreamRequest } from '../upstream/request.ts';
import type { RouteEntry, SiteEntry } from '../../snapshot.ts';

/** An answer in the service's place; `fields` are lines each with its CRLF. */
export type Verdict =
  | { readonly status: number; readonly fields: string; readonly body: string }
  | { readonly failure: Failure; readonly reason: string };

export interface PolicyClient {
  /** How the client reached us, or the trusted proxy in front of us. */
  readonly scheme: 'http' | 'https';
}

export type RequestStep = (head: RequestHead, client: PolicyClient) => Verdict | null;
/** Changes what the worker gets. */
export type ForwardStep = (request: UpstreamRequest, head: RequestHead) => void;
/** Takes the field lines of an answer and returns what the client gets. */
export type ResponseStep = (fields: string, client: PolicyClient) => string;

export interface PolicySteps {
  readonly onRequest?: RequestStep;
  readonly onForward?: ForwardStep;
  readonly onResponse?: ResponseStep;
}

export interface PolicyContext {
  readonly site: SiteEntry;
  /** null: what holds for the site when no route has the path. */
  readonly route: RouteEntry | null;
  /** Host names without a certificate, and why. */
  readonly pending: ReadonlyMap<string, string>;
}

/** Null: it has nothing to do on this route, and costs its requests nothing. */
export type Policy = (context: PolicyContext) => PolicySteps | null;
