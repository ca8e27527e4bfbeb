/** A storage that forgets: for trial orders, which must leave nothing. */
import type { Lock, Storage } from './storage.ts';
import { createTurns } from './turns.ts';

export function createMemoryStorage(): Storage {
  const values = new Map<string, string>();
  const pointers = new Map<string, string>();
  const turns = createTurns();
  const held: Lock = { assertHeld: () => Promise.resolve() };
  return {
    description: 'memory',
    read: (key) => Promise.resolve(values.get(key) ?? null),
    write: async (key, content) => void values.set(key, content),
    remove: async (key) => {
      for (const map of [values, pointers]) {
        for (const name of map.keys()) if (name === key || name.startsWith(`${key}/`)) map.delete(name);
      }
    },
    list: (prefix) => {
      const below = [...values.keys(), ...pointers.keys()].filter((key) => key.startsWith(`${prefix}/`));
      return Promise.resolve([...new Set(below.map((key) => key.slice(prefix.length + 1).split('/', 1)[0] ?? ''))]);
    },
    point: async (key, sibling) => void pointers.set(key, sibling),
    pointee: (key) => Promise.resolve(pointers.get(key) ?? null),
    withLock: async (name, signal, work) => {
      using _turn = await turns.take(name, signal);
      return await work(held);
    },
    probe: () => Promise.resolve(),
  };
}
