/** All rules about requests, in their order. */
import type { Table } from './cases.ts';
import { CHUNKS } from './chunk_cases.ts';
import { FIELDS } from './field_cases.ts';
import { FRAMING } from './framing_cases.ts';
import { HEADS } from './head_cases.ts';
import { HOSTS } from './host_cases.ts';
import { STARTS } from './start_cases.ts';
import { TARGETS } from './target_cases.ts';

export const TABLES: readonly Table[] = [
  ...FRAMING,
  ...STARTS,
  ...HEADS,
  ...CHUNKS,
  ...HOSTS,
  ...TARGETS,
  ...FIELDS,
].toSorted((a, b) => a.rule - b.rule);
