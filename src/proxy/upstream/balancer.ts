/** The balancing policies: which of several targets is next. Chosen among those that may be asked, none of the tried. */
import type { ServiceEntry } from '../../snapshot.ts';

/** What a policy sees of a target. */
export interface Candidate {
  readonly id: string;
  /** Relative share, above 0; less than configured while a target starts slowly. */
  readonly weight: number;
  readonly inFlight: number;
  /** What smooth round robin remembers of it. */
  credit: number;
}

export interface Choice<T extends Candidate> {
  readonly candidates: readonly T[];
  readonly tried: readonly T[];
  /** Who has so many requests gets no more. */
  readonly limit: number;
  /** Moves by one with each choice: ties are spread, of which an idle service has nothing else. */
  readonly turn: number;
  /** What binds the request to a target; null: nothing. */
  readonly affinity: string | null;
}

export function choose<T extends Candidate>(policy: ServiceEntry['policy'], choice: Choice<T>): T | null {
  switch (policy) {
    case 'least_conn':
      return leastConnections(choice);
    case 'round_robin':
      return roundRobin(choice);
    case 'random_two':
      return randomOfTwo(choice);
    case 'hash':
      return choice.affinity === null ? leastConnections(choice) : rendezvous(choice, choice.affinity);
  }
}

function leastConnections<T extends Candidate>({ candidates, tried, limit, turn }: Choice<T>): T | null {
  const count = candidates.length;
  let best: T | null = null;
  let bestLoad = 0;
  for (let i = 0; i < count; i++) {
    const target = candidates[(turn + i) % count];
    if (target === undefined || target.inFlight >= limit || tried.includes(target)) continue;
    const load = (target.inFlight + 1) / target.weight;
    if (best === null || load < bestLoad) {
      best = target;
      bestLoad = load;
    }
  }
  return best;
}

/** Smooth weighted round robin as nginx does it: of weights 5, 1, 1 come a a b a c a a, never five in a row. */
function roundRobin<T extends Candidate>({ candidates, tried, limit }: Choice<T>): T | null {
  let total = 0;
  let best: T | null = null;
  for (const target of candidates) {
    if (target.inFlight >= limit || tried.includes(target)) continue;
    total += target.weight;
    target.credit += target.weight;
    if (best === null || target.credit > best.credit) best = target;
  }
  if (best !== null) best.credit -= total;
  return best;
}

/** Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing": no herd where many balancers share targets. */
function randomOfTwo<T extends Candidate>({ candidates, tried, limit }: Choice<T>): T | null {
  const free =
    tried.length === 0 && limit === Infinity
      ? candidates
      : candidates.filter((target) => target.inFlight < limit && !tried.includes(target));
  const one = weightedRandom(free, null);
  const other = weightedRandom(free, one);
  if (one === null || other === null) return one ?? other;
  return (other.inFlight + 1) / other.weight < (one.inFlight + 1) / one.weight ? other : one;
}

function weightedRandom<T extends Candidate>(targets: readonly T[], except: T | null): T | null {
  let total = 0;
  for (const target of targets) if (target !== except) total += target.weight;
  let point = Math.random() * total;
  let last: T | null = null;
  for (const target of targets) {
    if (target === except) continue;
    last = target;
    point -= target.weight;
    if (point < 0) break;
  }
  return last;
}

/** Rendezvous hashing (Thaler and Ravishankar 1998), weighted: when a target goes, only its own keys move. */
function rendezvous<T extends Candidate>({ candidates, tried, limit }: Choice<T>, key: string): T | null {
  let best: T | null = null;
  let bestScore = -1;
  for (const target of candidates) {
    if (target.inFlight >= limit || tried.includes(target)) continue;
    const score = -target.weight / Math.log(unitHash(key, target.id));
    if (score > bestScore) {
      best = target;
      bestScore = score;
    }
  }
  return best;
}

/** FNV-1a with a finisher, as a number within (0, 1). */
function unitHash(key: string, id: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ 0xff, 0x01000193);
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (((hash ^ (hash >>> 16)) >>> 0) + 0.5) / 2 ** 32;
}
