import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { startPeer } from './contender.ts';
import type { ContenderKind, Stage } from './contender.ts';
import { freePort } from '../../support/daemon.ts';
import { versionOf } from '../machine.ts';
import { processTree } from '../usage.ts';

export const caddy: ContenderKind = {
  name: 'caddy',
  version: () => versionOf('caddy', 'version'),
  start: async (stage) => {
    const port = await freePort();
    const file = path.join(stage.folder, 'Caddyfile');
    writeFileSync(file, configuration(stage, port));
    return startPeer(
      {
        name: 'caddy',
        command: ['caddy', 'run', '--adapter', 'caddyfile', '--config', file],
        env: { GOMAXPROCS: '1', HOME: stage.folder, XDG_CONFIG_HOME: stage.folder, XDG_DATA_HOME: stage.folder },
        port,
        accessLog: path.join(stage.folder, 'access.log'),
        processes: 1,
        pids: processTree,
      },
      stage,
    );
  },
};

/** X-Forwarded-For, -Proto and -Host are of its own accord. */
function configuration({ folder, tls, workers, accessLog }: Stage, port: number): string {
  const upstreams = workers.map((worker) => worker.replace(/^unix:/, 'unix/'));
  const log = `log {\n    output file ${folder}/access.log {\n      roll_disabled\n    }\n    format json\n  }`;
  return `{
  admin off
  auto_https off
  servers {
    protocols h1 h2
  }
}
https://localhost:${port} {
  bind 127.0.0.1
  tls ${tls.certificate} ${tls.key}
  ${accessLog ? log : ''}
  reverse_proxy ${upstreams.join(' ')} {
    lb_policy least_conn
    header_up X-Request-Id {http.request.uuid}
    transport http {
      keepalive 300s
      keepalive_idle_conns_per_host 256
    }
  }
}
`;
}
