/** What a person at a terminal is told at the start. */
import type { ControlPlane } from '../control/plane.ts';

export function banner({ config, listeners, certificates }: ControlPlane): string {
  const lines: string[] = [''];
  const https = config.entrypoints.find(({ tls }) => tls);
  const http = config.entrypoints.find(({ tls }) => !tls);
  const portOf = (name: string | undefined): number => listeners.find((listener) => listener.name === name)?.port ?? 0;
  for (const { hosts, tls, routes } of config.sites) {
    const [host = '*'] = hosts;
    const secure = tls.mode !== 'off';
    const entrypoint = secure ? https : http;
    if (entrypoint === undefined) continue;
    const url = address(secure ? 'https' : 'http', host, portOf(entrypoint.name));
    const targets = routes.map((route) => ('service' in route ? route.service : route.redirect.to));
    lines.push(`  ${url} → ${[...new Set(targets)].join(', ')}`);
    if (secure && http !== undefined) lines.push(`  ${address('http', host, portOf(http.name))} redirects there`);
  }
  lines.push(`  admin socket ${config.admin.socket}`);
  const root = certificates.internalRoot();
  if (root !== null) {
    lines.push(
      '',
      '  Certificates of the internal CA: browsers and tools trust them once they know',
      `  ${root}`,
      `  curl --cacert ${root} …   or, for this machine:`,
      `  cp ${root} /usr/local/share/ca-certificates/proxy.crt && update-ca-certificates`,
    );
  }
  return `${lines.join('\n')}\n\n`;
}

function address(scheme: 'http' | 'https', host: string, port: number): string {
  const name = host.includes(':') ? `[${host}]` : host;
  return `${scheme}://${name}${port === (scheme === 'http' ? 80 : 443) ? '' : `:${port}`}/`;
}
