/** A web server that is not ours, at other addresses of loopback than the daemon's, on the daemon's port. */
import http from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';

export interface SomebodyElse extends AsyncDisposable {
  /** Paths it was asked for, in order. */
  readonly asked: readonly string[];
}

export async function startSomebodyElse(
  port: number,
  addresses: readonly string[],
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<SomebodyElse> {
  const asked: string[] = [];
  const servers = addresses.map(() =>
    http.createServer((request, response) => {
      asked.push(request.url ?? '');
      answer(request, response);
    }),
  );
  await Promise.all(
    servers.map(
      (server, i) =>
        new Promise<void>((resolve, reject) => {
          server.once('error', reject);
          server.listen(port, addresses[i], resolve);
        }),
    ),
  );
  return {
    asked,
    [Symbol.asyncDispose]: async () => {
      for (const server of servers) server.closeAllConnections();
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}
