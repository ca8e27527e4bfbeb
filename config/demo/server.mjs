// A small app without dependencies: its page tells which worker answered, and since when that worker runs.
import http from 'node:http';

const started = Date.now();
let answered = 0;

const server = http.createServer((request, response) => {
  answered += 1;
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  const text =
    `worker ${process.env.PROXY_WORKER ?? '?'} (pid ${process.pid}), up ${seconds} s, answer ${answered}\n` +
    `you asked for ${request.headers['x-forwarded-proto']}://${request.headers.host}${request.url} ` +
    `from ${request.headers['x-forwarded-for']}\n`;
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8', 'content-length': Buffer.byteLength(text) });
  response.end(text);
});

// The proxy closes idle connections first; this is only the long stop behind it.
server.keepAliveTimeout = 75_000;
server.listen(process.argv[2]);
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
