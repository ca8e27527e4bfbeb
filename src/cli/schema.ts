import { print } from './terminal.ts';
import { configurationJsonSchema } from '../config/json_schema.ts';

/** The configuration's JSON Schema, on stdout. */
export function schema(): number {
  print(JSON.stringify(configurationJsonSchema(), null, 2));
  return 0;
}
