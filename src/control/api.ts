/** What the admin socket offers: reading the state of things, and the verbs that change it. */
import { AdminError, taking } from './admin.ts';
import type { AdminVerb } from './admin.ts';
import { logHandlers } from './logs_api.ts';
import { serviceHandlers } from './services_api.ts';
import { certificateHandlers } from './certificates_api.ts';
import type { ControlPlane } from './plane.ts';
import { statusJson } from './status.ts';
import { formatProblem } from '../config/load.ts';

export function createApi(plane: ControlPlane): Readonly<Record<string, AdminVerb>> {
  return {
    'GET /v1/status': taking([], async () => statusJson(plane)),
    'GET /v1/health': taking([], async () => plane.health()),
    'POST /v1/reload': taking([], async () => {
      const outcome = await plane.reload();
      if (outcome.ok) {
        const launched = plane.services().flatMap(({ config: { name, command } }) => (command === null ? [] : name));
        return { changes: outcome.changes, not_reloaded: outcome.notReloaded, launched };
      }
      const { reason, problems } = outcome;
      const code = problems.length > 0 ? 'bad_configuration' : 'not_applied';
      throw new AdminError(422, code, `${reason}; nothing was changed`, problems.map(formatProblem));
    }),
    'POST /v1/stop': taking([], async () => {
      void plane.stop('the operator asked');
      // The answer is one of the last things that go out: the socket closes when all else has ended.
      await plane.idle;
      return {};
    }),
    ...certificateHandlers(() => plane.certificates),
    ...serviceHandlers(() => plane.services(), plane.events),
    ...logHandlers(plane.events, () => plane.services().map(({ config }) => config.name)),
  };
}
