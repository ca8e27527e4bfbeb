/**
 * What binds a client's requests to one worker: its address, a header, a cookie of the application's, or a cookie of ours
 * that is signed and says nothing of what is behind.
 */
import { createHmac } from 'node:crypto';
import type { RequestHead } from '../http1/request_head.ts';
import { matches } from '../http1/fields.ts';
import type { ServiceEntry, TargetEntry } from '../../snapshot.ts';

export interface AffinitySource {
  /** What the request says of where it belongs; null: nothing, or the service does not ask. */
  of(service: ServiceEntry, head: RequestHead, remote: string): string | null;
  /** The target our cookie names. */
  find<T extends { readonly entry: TargetEntry }>(
    service: ServiceEntry,
    affinity: string,
    targets: readonly T[],
  ): T | null;
  /** The field line that sets our cookie; empty when the client has it or the service does not ask. */
  fieldsFor(service: ServiceEntry, affinity: string | null, target: TargetEntry, secure: boolean): string;
}

/** `secret`, base64, is the same in all proxies. */
export function createAffinitySource(secret: () => string): AffinitySource {
  const tags = new Map<string, string>();
  /** A worker's tag outlives its restarts: it is of its place, not of its process. */
  const tagOf = (service: ServiceEntry, { place }: TargetEntry): string => {
    const name = `${service.name} ${place}`;
    let tag = tags.get(name);
    if (tag === undefined) {
      tag = createHmac('sha256', Buffer.from(secret(), 'base64')).update(name).digest('base64url').slice(0, 22);
      if (tags.size >= 10_000) tags.clear();
      tags.set(name, tag);
    }
    return tag;
  };
  return {
    of: (service, head, remote) => {
      if (service.stickyCookie !== null) return cookieValue(head.fields, service.stickyCookie);
      if (service.hash === null) return null;
      switch (service.hash.by) {
        case 'client':
          return remote;
        case 'header':
          return fieldValue(head.fields, service.hash.name);
        case 'cookie':
          return cookieValue(head.fields, service.hash.name);
      }
    },
    find: (service, affinity, targets) => targets.find(({ entry }) => tagOf(service, entry) === affinity) ?? null,
    fieldsFor: (service, affinity, target, secure) => {
      const tag = tagOf(service, target);
      if (service.stickyCookie === null || tag === affinity) return '';
      const attributes = `Path=/; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`;
      return `Set-Cookie: ${service.stickyCookie}=${tag}; ${attributes}\r\n`;
    },
  };
}

/** The first value of a field in `fields`; `name` in lower case. */
export function fieldValue(fields: string, name: string): string | null {
  for (let at = 0; at < fields.length;) {
    const end = fields.indexOf('\r\n', at);
    if (fields.charCodeAt(at + name.length) === 0x3a && matches(fields, at, name)) {
      return fields.slice(at + name.length + 1, end).trim();
    }
    at = end + 2;
  }
  return null;
}

function cookieValue(fields: string, name: string): string | null {
  const cookies = fieldValue(fields, 'cookie');
  if (cookies === null) return null;
  for (const pair of cookies.split(';')) {
    const equals = pair.indexOf('=');
    if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
  }
  return null;
}
