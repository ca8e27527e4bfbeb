/** A whole deployment in a few words: what `run` takes instead of a file, and what `init` writes into one. */
import { stringify } from 'yaml';

export interface Deployment {
  readonly hosts: readonly string[];
  readonly email: string | null;
  readonly agreeTos: boolean;
  /** null: as without one. */
  readonly ca: string | null;
  /** Workers to launch, or where others run. */
  readonly app: { readonly command: readonly string[] } | { readonly upstreams: readonly string[] };
}

export interface DeploymentWords {
  readonly host?: readonly string[] | undefined;
  readonly email?: string | undefined;
  readonly 'agree-tos'?: boolean | undefined;
  readonly ca?: string | undefined;
  readonly to?: readonly string[] | undefined;
  /** What follows `--`. */
  readonly command: readonly string[];
}

export type ReadWords =
  | { readonly kind: 'none' }
  | { readonly kind: 'deployment'; readonly deployment: Deployment }
  | { readonly kind: 'incomplete'; readonly problem: string };

export function readDeployment(words: DeploymentWords): ReadWords {
  const { host: hosts = [], to: upstreams = [], command, email = null, ca = null } = words;
  const agreeTos = words['agree-tos'] === true;
  if (hosts.length + upstreams.length + command.length === 0 && email === null && ca === null && !agreeTos) {
    return { kind: 'none' };
  }
  if (hosts.length === 0) return { kind: 'incomplete', problem: 'a name to serve is missing: --host app.example.com' };
  if (upstreams.length > 0 && command.length > 0) {
    return { kind: 'incomplete', problem: 'either --to URL, where it runs, or -- COMMAND, which starts it' };
  }
  if (upstreams.length + command.length === 0) {
    return { kind: 'incomplete', problem: 'what to serve is missing: -- COMMAND, which starts it, or --to URL' };
  }
  const app = command.length > 0 ? { command } : { upstreams };
  return { kind: 'deployment', deployment: { hosts, email, agreeTos, ca, app } };
}

export interface Place {
  /** Of the app, where that is not the file's own folder. */
  readonly directory?: string;
  /** Who the proxies are. */
  readonly user?: string;
}

/** The configuration's text. */
export function deploymentYaml(
  { hosts, email, agreeTos, ca, app }: Deployment,
  { directory, user }: Place = {},
): string {
  const account = {
    ...(email === null ? {} : { email }),
    ...(agreeTos ? { agree_tos: true } : {}),
    ...(ca === null ? {} : { issuers: [{ ca }] }),
  };
  const ofApp = 'command' in app && directory !== undefined ? { directory } : {};
  const value = {
    ...(user === undefined ? {} : { user }),
    ...(Object.keys(account).length === 0 ? {} : { acme: account }),
    sites: [{ hosts, service: 'web' }],
    services: { web: { ...app, ...ofApp } },
  };
  // What a shell has left of `${` is meant to be there.
  return stringify(value, { flowCollectionPadding: true, lineWidth: 0 }).replaceAll('${', () => '$${');
}
