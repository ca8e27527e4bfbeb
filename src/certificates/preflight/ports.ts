/** Where the world finds the entrypoints. */
import type { PublicPorts } from './context.ts';
import type { EntrypointConfig } from '../../config/config.ts';

export function publicPorts(entrypoints: readonly EntrypointConfig[]): PublicPorts {
  const port = (tls: boolean, wanted: number): number | null => {
    const ports = entrypoints.filter((entrypoint) => entrypoint.tls === tls).map(({ publicPort }) => publicPort);
    return ports.includes(wanted) ? wanted : (ports[0] ?? null);
  };
  return { http: port(false, 80), https: port(true, 443) };
}
