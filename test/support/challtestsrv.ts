/** The DNS that pebble-challtestsrv makes up, and how it is told what to say. */
import { request } from 'undici';

export interface DnsControl {
  /** `address:port` */
  readonly server: string;
  /** Where it is told what to say: `http://address:port`. */
  readonly api: string;
  /** `set-txt`, `clear-txt`, `set-cname`, `set-servfail` and the like. */
  tell(action: string, fields: Readonly<Record<string, unknown>>): Promise<void>;
  /** Instead of what was there. */
  addresses4(name: string, addresses: readonly string[]): Promise<void>;
  addresses6(name: string, addresses: readonly string[]): Promise<void>;
  caa(name: string, policies: readonly { readonly tag: string; readonly value: string }[]): Promise<void>;
  servfail(name: string): Promise<void>;
}

export function createDnsControl(server: string, api: string): DnsControl {
  const tell = async (action: string, fields: Readonly<Record<string, unknown>>): Promise<void> => {
    const response = await request(`${api}/${action}`, { method: 'POST', body: JSON.stringify(fields) });
    const said = await response.body.text();
    if (response.statusCode !== 200) throw new Error(`${action} answered ${response.statusCode}: ${said}`);
  };
  // What is added joins what was added before.
  const replace = async (
    kind: string,
    body: Readonly<Record<string, unknown>> & { readonly host: string },
  ): Promise<void> => {
    await tell(`clear-${kind}`, { host: body.host });
    await tell(`add-${kind}`, body);
  };
  const host = (name: string): string => `${name}.`;
  return {
    server,
    api,
    tell,
    addresses4: (name, addresses) => replace('a', { host: host(name), addresses }),
    addresses6: (name, addresses) => replace('aaaa', { host: host(name), addresses }),
    caa: (name, policies) => replace('caa', { host: host(name), policies }),
    servfail: (name) => tell('set-servfail', { host: host(name) }),
  };
}
