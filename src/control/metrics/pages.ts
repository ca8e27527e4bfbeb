/** What the metrics address has to show, by path. */
import type { ControlPlane } from '../plane.ts';
import type { Health } from '../health.ts';
import { collectMetrics } from './collect.ts';
import { expose } from './exposition.ts';
import { sendText } from './server.ts';
import type { Page, Pages } from './server.ts';

export function createPages(plane: ControlPlane): Pages {
  return {
    '/metrics': {
      open: false,
      respond: async ({ accept }, response) => {
        const { contentType, text } = await expose(collectMetrics(plane), accept);
        sendText(response, 200, text, contentType);
      },
    },
    '/livez': healthPage(plane, 'alive', ({ alive }) => alive),
    '/readyz': healthPage(plane, 'ready', ({ ready }) => ready),
  };
}

/** Anybody may ask, as load balancers and kubelets do, who know no token; why not is for those who do. */
function healthPage(plane: Pick<ControlPlane, 'health'>, word: string, isWell: (health: Health) => boolean): Page {
  return {
    open: true,
    respond: ({ trusted }, response) => {
      const health = plane.health();
      if (isWell(health)) return sendText(response, 200, `${word}\n`);
      const lines = [`not ${word}`, ...(trusted ? health.problems : [])];
      sendText(response, 503, `${lines.join('\n')}\n`);
    },
  };
}
