import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { startPeer } from './contender.ts';
import type { ContenderKind, Stage } from './contender.ts';
import { freePort } from '../../support/daemon.ts';
import { versionOf } from '../machine.ts';
import { processTree } from '../usage.ts';

export const nginx: ContenderKind = {
  name: 'nginx',
  version: () => versionOf('nginx', '-v'),
  start: async (stage) => {
    const port = await freePort();
    const file = path.join(stage.folder, 'nginx.conf');
    writeFileSync(file, configuration(stage, port));
    return startPeer(
      {
        name: 'nginx',
        command: ['nginx', '-c', file, '-e', path.join(stage.folder, 'stderr.log')],
        port,
        accessLog: path.join(stage.folder, 'access.log'),
        processes: 2,
        pids: (root) =>
          processTree(root).filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('nginx')),
      },
      stage,
    );
  },
};

/** Kept connections are as many as requests in flight can be: with fewer it would open and close some all the time. */
function configuration({ folder, tls, workers, accessLog }: Stage, port: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `daemon off; worker_processes 1; worker_rlimit_nofile 8192; pid ${folder}/nginx.pid;
${process.getuid?.() === 0 ? 'user root;' : ''}
events { worker_connections 4096; }
http {
  access_log ${accessLog ? `${folder}/access.log combined buffer=64k flush=1s` : 'off'};
  ${temporary.map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(' ')}
  keepalive_timeout 300s; keepalive_requests 1000000000; client_max_body_size 0; http2_max_concurrent_streams 128;
  upstream web {
    least_conn; ${workers.map((worker) => `server ${worker};`).join(' ')}
    keepalive 256; keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port} ssl http2;
    ssl_certificate ${tls.certificate}; ssl_certificate_key ${tls.key}; ssl_protocols TLSv1.2 TLSv1.3;
    location / {
      proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Request-Id $request_id;
      proxy_request_buffering off; proxy_max_temp_file_size 0; proxy_read_timeout 300s; send_timeout 300s;
    }
  }
}
`;
}
