#!/usr/bin/env node
/** One program, two roles: proxies are started by the control plane with theirs in the environment. */
if (process.env['PROXY_ROLE'] === 'proxy') {
  void import('./proxy/proxy.ts').then(({ runProxy }) => runProxy());
} else {
  void import('./cli/cli.ts').then(async ({ main }) => {
    process.exitCode = await main(process.argv.slice(2));
  });
}
