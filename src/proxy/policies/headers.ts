/** `headers`: field lines set and removed, on the way to the worker and on the way back. */
import { matches } from '../http1/fields.ts';
import type { HeaderEdits } from '../../snapshot.ts';
import type { Policy } from './policy.ts';

export const headers: Policy = ({ site }) => {
  const { request, response } = site.headers;
  const editRequest = createEdit(request);
  const editResponse = createEdit(response);
  if (editRequest === null && editResponse === null) return null;
  const host = Object.entries(request.set).find(([name]) => name.toLowerCase() === 'host')?.[1];
  return {
    ...(editRequest !== null && {
      onForward: (upstream) => {
        upstream.fields = editRequest(upstream.fields);
        if (host !== undefined) upstream.host = host;
      },
    }),
    ...(editResponse !== null && { onResponse: (fields: string) => editResponse(fields) }),
  };
};

/** A function over field lines; null when there is nothing to do. What is set replaces every line of that name. */
export function createEdit({ set, remove }: HeaderEdits): ((fields: string) => string) | null {
  const lines = Object.entries(set).filter(([name]) => name.toLowerCase() !== 'host');
  const added = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const gone = [...Object.keys(set), ...remove].map((name) => name.toLowerCase());
  if (gone.length === 0) return null;
  return (fields) => withoutFields(fields, gone) + added;
}

/** `fields` without the lines of the names, which are lower case. */
export function withoutFields(fields: string, names: readonly string[]): string {
  let kept = '';
  let keepFrom = 0;
  for (let at = 0; at < fields.length;) {
    const end = fields.indexOf('\r\n', at) + 2;
    const start = at;
    if (names.some((name) => fields.charCodeAt(start + name.length) === 0x3a && matches(fields, start, name))) {
      kept += fields.slice(keepFrom, at);
      keepFrom = end;
    }
    at = end;
  }
  return kept + fields.slice(keepFrom);
}
