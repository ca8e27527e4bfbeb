import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { startPeer } from './contender.ts';
import type { ContenderKind, Stage } from './contender.ts';
import { freePort } from '../../support/daemon.ts';
import { versionOf } from '../machine.ts';
import { processTree } from '../usage.ts';

export const haproxy: ContenderKind = {
  name: 'haproxy',
  version: () => versionOf('haproxy', '-v'),
  start: async (stage) => {
    const port = await freePort();
    const file = path.join(stage.folder, 'haproxy.cfg');
    writeFileSync(file, configuration(stage, port));
    return startPeer(
      {
        name: 'haproxy',
        command: ['haproxy', '-db', '-f', file],
        port,
        accessLog: path.join(stage.folder, 'stdout.log'),
        processes: 1,
        pids: processTree,
      },
      stage,
    );
  },
};

function configuration({ tls, workers, accessLog }: Stage, port: number): string {
  const servers = workers.map((worker, i) => `  server w${i} ${worker.replace(/^unix:/, 'unix@')}`);
  return `global
  nbthread 1
  maxconn 4000
  ${accessLog ? 'log stdout format raw local0' : ''}
defaults
  mode http
  ${accessLog ? 'log global\n  option httplog\n  option dontlognull' : ''}
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-request 300s
  timeout http-keep-alive 300s
  http-reuse always
frontend https
  bind 127.0.0.1:${port} ssl crt ${tls.both} alpn h2,http/1.1
  option forwardfor
  http-request set-header X-Forwarded-Proto https
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  unique-id-format %[uuid()]
  unique-id-header X-Request-Id
  default_backend web
backend web
  balance leastconn
${servers.join('\n')}
`;
}
