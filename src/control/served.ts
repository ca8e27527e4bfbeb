/** Looks at what a client is shown, by being one. */
import net from 'node:net';
import tls from 'node:tls';
import type { ServedLeaf } from '../certificates/renewer.ts';
import type { EntrypointConfig } from '../config/config.ts';

const TIMEOUT_MS = 5_000;

/**
 * The certificate shown for `name`; null: the handshake failed; undefined: there is no
 * listener to look at, as for an address, which only connections made to it can name.
 */
export function servedLeaf(
  name: string,
  entrypoints: readonly EntrypointConfig[],
): Promise<ServedLeaf | null | undefined> {
  const entrypoint = entrypoints.find((one) => one.tls && !one.proxyProtocol);
  if (entrypoint === undefined || net.isIP(name) !== 0) return Promise.resolve(undefined);
  const { host, port } = entrypoint;
  return new Promise((resolve) => {
    const socket = tls.connect({
      host: host === null || host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host,
      port,
      servername: name,
      // Whoever issued it: the question is which one it is.
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
      timeout: TIMEOUT_MS,
    });
    const failed = (): void => {
      socket.destroy();
      resolve(null);
    };
    socket.on('secureConnect', () => {
      const shown = socket.getPeerX509Certificate();
      resolve(shown === undefined ? null : { serial: shown.serialNumber, notAfter: shown.validToDate.getTime() });
      // Cut off here it would be one more failed handshake.
      socket.end();
    });
    socket.on('error', failed);
    socket.on('timeout', failed);
  });
}
