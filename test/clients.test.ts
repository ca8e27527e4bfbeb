/** Clients as people have them, each with its own idea of a connection: curl, h2load, Python's http.client. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { RECORDING_SERVICE, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { run } from './support/processes.ts';

let daemon: Daemon;
before(async () => {
  daemon = await startDaemon({
    config: `sites: [{ hosts: [localhost, 127.0.0.1], service: web }]${RECORDING_SERVICE}`,
  });
});
after(() => daemon[Symbol.asyncDispose]());

async function succeed(command: string, args: readonly string[], input?: string): Promise<string> {
  const { stdout, stderr, code } = await run(command, args, input === undefined ? {} : { input });
  assert.equal(code, 0, stderr);
  return stdout;
}

const curl = (args: readonly string[], input?: string): Promise<string> =>
  succeed('curl', ['-sS', '--max-time', '30', '--cacert', daemon.ca, ...args], input);

test('curl uploads a pipe, whose length nobody knows, by either protocol', async () => {
  const input = 'x'.repeat(3_000_000);
  for (const protocol of ['--http1.1', '--http2']) {
    const seen = JSON.parse(await curl([protocol, '-T', '-', `${daemon.origin}/echo`], input)) as {
      readonly method: string;
      readonly length: number;
      readonly headers: Readonly<Record<string, string>>;
    };
    assert.deepEqual(
      [seen.method, seen.length, seen.headers['transfer-encoding'], seen.headers['content-length']],
      ['PUT', input.length, 'chunked', undefined],
      protocol,
    );
  }
});

test('curl asks again on the connection it has, whatever was answered', async () => {
  const targets = ['/', '/status?code=204', '/bytes?size=100000&chunked', '/status?code=304', '/status?code=404', '/'];
  const urls = targets.flatMap((target) => ['-o', '/dev/null', `${daemon.origin}${target}`]);
  for (const [protocol, version] of [
    ['--http1.1', '1.1'],
    ['--http2', '2'],
  ] as const) {
    const lines = await curl([protocol, '-w', '%{http_version} %{http_code} %{num_connects}\n', ...urls]);
    const codes = [200, 204, 200, 304, 404, 200];
    assert.deepEqual(
      lines.trim().split('\n'),
      codes.map((code, i) => `${version} ${code} ${i === 0 ? 1 : 0}`),
    );
  }
});

test('h2load is answered every request, by either protocol', async () => {
  for (const protocol of [['-m', '16'], ['--h1']]) {
    const args = ['-n', '2000', '-c', '8', ...protocol, `${daemon.origin}/`, `${daemon.origin}/bytes?size=50000`];
    const text = await succeed('h2load', args);
    assert.match(text, /2000 succeeded, 0 failed, 0 errored, 0 timeout/, text);
    assert.match(text, /2000 2xx, 0 3xx, 0 4xx, 0 5xx/, text);
  }
});

test("Python's http.client verifies the name, keeps the connection and uploads in chunks", async () => {
  const script = `
import http.client, json, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
client = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=context)
lengths = []
for turn in range(3):
    client.request("POST", "/echo", body=(b"y" * 1000 for _ in range(500)), encode_chunked=True,
                   headers={"Transfer-Encoding": "chunked"})
    socket = client.sock
    lengths.append(json.load(client.getresponse())["length"])
    assert client.sock is socket
client.request("HEAD", "/bytes?size=5")
answer = client.getresponse()
print(lengths, answer.status, answer.headers["content-length"], len(answer.read()), client.sock is socket)
`;
  const said = await succeed('/usr/bin/python3', ['-c', script, String(daemon.ports.https), daemon.ca]);
  assert.equal(said.trim(), '[500000, 500000, 500000] 200 5 0 True');
});
