/** The page for people at the metrics address: read-only, and from nowhere but here. */
import { ASSET_NAMES, createAssets, typeOf } from './assets.ts';
import { createFeed } from './feed.ts';
import type { FeedSources } from './feed.ts';
import { sendText } from '../metrics/server.ts';
import type { Page, Pages } from '../metrics/server.ts';

/** Nothing from elsewhere, and in nobody's frame. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HOME = 'index.html';
const FOLDER = '/dashboard/';

export function dashboardPages(sources: FeedSources): Pages {
  const feed = createFeed(sources);
  const pages: Record<string, Page> = {};
  const textOf = createAssets();
  for (const name of ASSET_NAMES) {
    pages[name === HOME ? '/' : `${FOLDER}${name}`] = {
      open: false,
      respond: (_, response) => {
        response.setHeader('Content-Security-Policy', POLICY);
        response.setHeader('Referrer-Policy', 'no-referrer');
        sendText(response, 200, textOf(name), typeOf(name));
      },
    };
  }
  pages[`${FOLDER}feed`] = {
    open: false,
    respond: (_, response) => {
      if (!feed.serve(response)) sendText(response, 503, 'too many pages are open\n');
    },
  };
  return pages;
}
