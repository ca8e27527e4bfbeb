/** The verbs, in one place that is loaded when one is wanted: `--help` and `--version` wait for none of them. */
export { certs } from './certs.ts';
export { health } from './health.ts';
export { init } from './init.ts';
export { licenses } from './licenses.ts';
export { logs } from './logs.ts';
export { reload } from './reload.ts';
export { renew } from './renew.ts';
export { run } from './run.ts';
export { schema } from './schema.ts';
export { deploy, pause, restart, resume, scale, start, stopService } from './services.ts';
export { status } from './status.ts';
export { stop } from './stop.ts';
export { validate } from './validate.ts';
export { DRY_RUN_TIMEOUT_MS, isCaChoice } from '../certificates/dry_run.ts';
