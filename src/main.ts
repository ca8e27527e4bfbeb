#!/usr/bin/env node
/** One program, two roles: proxies are started by the control plane with theirs in the environment. */
if (process.env['PROXY_ROLE'] === 'proxy') {
  const { runProxy } = await import('./proxy/proxy.ts');
  runProxy();
} else {
  const { main } = await import('./cli/cli.ts');
  process.exitCode = await main(process.argv.slice(2));
}
