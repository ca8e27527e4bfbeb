/** Looks at what a client is shown, by being one. */
import net from 'node:net';
import tls from 'node:tls';
import type { EntrypointConfig } from '../config/config.ts';

const TIMEOUT_MS = 5_000;

/**
 * Serial number (hexadecimal) of the certificate shown for `name`; null: the handshake failed; undefined: there is no
 * listener to look at, as for an address, which only connections made to it can name.
 */
export function servedSerial(
  name: string,
  entrypoints: readonly EntrypointConfig[],
): Promise<string | null | undefined> {
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
    const done = (serial: string | null): void => {
      socket.destroy();
      resolve(serial);
    };
    socket.on('secureConnect', () => done(socket.getPeerX509Certificate()?.serialNumber ?? null));
    socket.on('error', () => done(null));
    socket.on('timeout', () => done(null));
  });
}
