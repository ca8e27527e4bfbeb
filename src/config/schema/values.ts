/** Kinds of values that keys of several sections have. */
import { z } from 'zod';
import { splitCommand } from '../shell_words.ts';
import { parseDuration, parseSize } from '../units.ts';

export const text = z.string().min(1);

export const count = (min: number, max = 1_000_000): z.ZodNumber => z.int().min(min).max(max);

/** As the JSON Schema says it; what is right is decided by `units.ts`. */
const durationText = z.string().meta({ pattern: String.raw`^(0|(\d+(\.\d+)?(ms|s|m|h|d))+)$|\$\{` });
const durationValue = z
  .union([durationText, z.number().meta({ const: 0 })])
  .meta({ id: 'duration', description: 'a duration: 250ms, 10s, 5m, 24h' });
export const duration = (byDefault: string) =>
  durationValue.transform((value, context) => readDuration(value, context)).prefault(byDefault);
/** Said to others, never waited for: it may be longer than a timer can hold. */
export const longDuration = durationValue.transform((value, context) => readDuration(value, context, Infinity));

const sizeText = z.string().meta({ pattern: String.raw`^\d+(\.\d+)?\s?([KMG]i?B|B)?$|\$\{` });
export const sizeValue = z
  .union([sizeText, z.number()])
  .meta({ id: 'size', description: 'a size: 64KiB, 10MiB, or bytes' })
  .transform(readSize);
export const size = (byDefault: string | number) => sizeValue.prefault(byDefault);

function readDuration(value: string | number, context: z.core.$RefinementCtx<string | number>, maxMs?: number): number {
  const ms = parseDuration(String(value), maxMs);
  if (ms !== null) return ms;
  context.addIssue({ code: 'custom', message: 'is not a duration such as 250ms, 10s, 5m or 24h', input: value });
  return z.NEVER;
}

function readSize(value: string | number, context: z.core.$RefinementCtx<string | number>): number {
  const bytes = parseSize(String(value));
  if (bytes !== null) return bytes;
  context.addIssue({ code: 'custom', message: 'is not a size such as 64KiB, 10MiB or 1048576', input: value });
  return z.NEVER;
}

const commandLine = z.string().transform((line, context) => {
  const split = splitCommand(line);
  if (split.ok) return [...split.words];
  context.addIssue({ code: 'custom', message: split.problem, input: line });
  return z.NEVER;
});
export const command = z
  .union([commandLine, z.array(text).min(1)])
  .meta({ id: 'command', description: 'a list of words, or a line split as a shell would, without a shell' });

/** A user or a group, by name or number. */
export const identity = z.union([text, count(0)]).transform(String);
