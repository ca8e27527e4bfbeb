/**
 * Signed requests of one account: acme-client's JOSE over a transport of our own. The library would retry by itself for
 * hours, wait without end, and turn every refusal into a string; every HTTP call it makes goes through `http.request`,
 * which is replaced here for each client, and a test holds it to that. It is loaded with the first session: most starts
 * order nothing.
 */
import type { Directory } from './directory.ts';
import { AcmeTransportError } from './errors.ts';
import { asProblem, assertSuccess, fieldsOf, shortType } from './transport.ts';
import type { Answer, Transport } from './transport.ts';

/** RFC 8555 section 6.5 lets any answer bring one; a few are enough for requests made at once. */
const KEPT_NONCES = 10;

export interface AcmeSession {
  readonly directory: Directory;
  /** null: no account is known to the CA yet. */
  readonly accountUrl: string | null;
  /**
   * Posts as the account. `payload` null reads (POST-as-GET). Rejects with an `AcmeProblem` when refused, with an
   * `AcmeTransportError` when nobody answered. A bad nonce is signed again, up to six times in all.
   */
  post(url: string, payload: Readonly<Record<string, unknown>> | null): Promise<Answer>;
  /** Posts as the bare key, as where the account is not made yet. */
  postAsKey(
    url: string,
    payload: Readonly<Record<string, unknown>>,
    options?: { readonly bind: boolean },
  ): Promise<Answer>;
  /** A JWS that is not sent by itself: the inner one of a key change (RFC 8555 section 7.3.5). */
  sign(url: string, payload: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>>;
  /** The public key. */
  jwk(): Readonly<Record<string, string>>;
  /** RFC 8555 section 8.1. */
  keyAuthorization(token: string): Promise<string>;
  /** Requests are of this account from now on. */
  useAccount(url: string): void;
}

export interface SessionOptions {
  readonly transport: Transport;
  readonly directoryUrl: string;
  readonly directory: Directory;
  /** PEM. */
  readonly accountKey: string;
  readonly accountUrl: string | null;
  readonly eab: { readonly kid: string; readonly hmacKey: string } | null;
  readonly signal: AbortSignal;
}

interface LibraryAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly data: unknown;
}

/** What is used of the library's HTTP client. */
interface LibraryHttp {
  signedRequest(url: string, payload: unknown, options: Readonly<Record<string, unknown>>): Promise<LibraryAnswer>;
  createSignedBody(url: string, payload: unknown): Readonly<Record<string, unknown>>;
  getJwk(): Readonly<Record<string, string>>;
}

export async function openSession(options: SessionOptions): Promise<AcmeSession> {
  const { transport, directory, signal, eab } = options;
  const acme = await import('acme-client');
  const client = new acme.Client({
    directoryUrl: options.directoryUrl,
    accountKey: options.accountKey,
    ...(eab === null ? {} : { externalAccountBinding: eab }),
  });
  const nonces: string[] = [];
  let { accountUrl } = options;

  const http = replaceTransport(Reflect.get(client, 'http'), {
    request: async (url: string, method: string, settings: { readonly data?: unknown } = {}): Promise<Answer> => {
      const body = settings.data === undefined ? null : JSON.stringify(settings.data);
      const answer = await transport.ask(url, method.toUpperCase(), body, signal);
      const isBadNonce = answer.status >= 400 && shortType(fieldsOf(answer.data)['type']) === 'badNonce';
      // The library signs again with the nonce of this answer; those from before may be as old as the refused one.
      if (isBadNonce) nonces.length = 0;
      else if (method.toUpperCase() === 'POST') keepNonce(nonces, answer);
      return answer;
    },
    getDirectory: () => Promise.resolve(directory),
    getNonce: async (): Promise<string> => {
      const kept = nonces.pop();
      if (kept !== undefined) return kept;
      const answer = assertSuccess(await transport.ask(directory.newNonce, 'HEAD', null, signal));
      const nonce = answer.headers['replay-nonce'];
      if (nonce === undefined) throw new AcmeTransportError('NOT_ACME', `${directory.newNonce} gives no nonce`);
      return nonce;
    },
  });

  const post = async (url: string, payload: unknown, kid: string | null, bind: boolean): Promise<Answer> => {
    const settings = { kid, includeExternalAccountBinding: bind };
    // What `request` above resolved with comes back as it is.
    const answer = (await http.signedRequest(url, payload, settings)) as Answer;
    if (answer.status >= 400) throw asProblem(answer);
    return answer;
  };
  return {
    directory,
    get accountUrl() {
      return accountUrl;
    },
    post: (url, payload) => {
      if (accountUrl === null) throw new Error('there is no account yet');
      return post(url, payload, accountUrl, false);
    },
    // The library adds the binding to the very object.
    postAsKey: (url, payload, { bind } = { bind: false }) => post(url, { ...payload }, null, bind),
    sign: (url, payload) => http.createSignedBody(url, payload),
    jwk: () => http.getJwk(),
    // Its digest for DNS is the solver's business.
    keyAuthorization: (token) =>
      client.getChallengeKeyAuthorization({ type: 'http-01', url: '', status: 'pending', token }),
    useAccount: (url) => void (accountUrl = url),
  };
}

function keepNonce(nonces: string[], answer: Answer): void {
  const nonce = answer.headers['replay-nonce'];
  if (nonce !== undefined && nonces.length < KEPT_NONCES) nonces.push(nonce);
}

/** The one seam: whatever this library sends is sent by us. */
function replaceTransport(http: unknown, ours: Readonly<Record<string, unknown>>): LibraryHttp {
  if (typeof http !== 'object' || http === null) throw new Error('acme-client has no HTTP client to replace');
  for (const name of [...Object.keys(ours), 'signedRequest', 'createSignedBody', 'getJwk']) {
    if (typeof Reflect.get(http, name) !== 'function') throw new Error(`acme-client's HTTP client has no ${name}`);
  }
  return Object.assign(http, ours) as unknown as LibraryHttp;
}
