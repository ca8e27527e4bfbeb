/** Which known word somebody may have meant. */

/** What other tools call things. */
const SYNONYMS: Readonly<Record<string, string>> = {
  replicas: 'workers',
  instances: 'workers',
  processes: 'workers',
  numprocs: 'workers',
  healthcheck: 'health_check',
  healthchecks: 'health_check',
  environment: 'env',
  cwd: 'directory',
  chdir: 'directory',
  working_dir: 'directory',
  working_directory: 'directory',
  server_name: 'hosts',
  domains: 'hosts',
  domain: 'hosts',
  host: 'hosts',
  proxy_pass: 'upstreams',
  reverse_proxy: 'upstreams',
  backend: 'upstreams',
  backends: 'upstreams',
  servers: 'upstreams',
  upstream: 'upstreams',
  cmd: 'command',
  exec: 'command',
  execstart: 'command',
  ssl: 'tls',
  https: 'tls',
  ssl_certificate: 'certificate',
  ssl_certificate_key: 'key',
  client_max_body_size: 'max_body_size',
  location: 'path',
  locations: 'routes',
  listen: 'address',
  virtual_hosts: 'sites',
  letsencrypt: 'acme',
};

/** The known word nearest to `word`: a synonym, or one within a third of its letters; null when none is near. */
export function nearest(word: string, known: readonly string[]): string | null {
  const lower = word.toLowerCase().replaceAll('-', '_');
  if (known.includes(lower)) return lower;
  const synonym = SYNONYMS[lower];
  if (synonym !== undefined && known.includes(synonym)) return synonym;
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(lower.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(lower, candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours between two words. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let distance = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        distance = Math.min(distance, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(distance);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
