/** An address as it is written: `127.0.0.1:80`, `[::1]:80`, and `:80` for all of them. */
export function formatAddress({ host, port }: { readonly host: string | null; readonly port: number }): string {
  return `${host === null ? '' : host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Whether only this machine can reach it; `host` is an IP address, or null for all. */
export function isLoopback(host: string | null): boolean {
  return host !== null && (host === '::1' || host.startsWith('127.'));
}
