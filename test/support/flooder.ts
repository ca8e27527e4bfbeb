/**
 * An attacker as a process of its own, so that what it costs is not taken for what it does: PORT, NAME and SHARE of a flood.
 * It begins when something comes by its standard input.
 */
import { once } from 'node:events';
import os from 'node:os';
import { FLOODS, runFlood } from './floods.ts';

const [port, name, share] = process.argv.slice(2);
const flood = FLOODS.find((one) => one.name === name);
if (flood === undefined) throw new Error(`there is no flood ${name}`);
// It has the processors that nobody else wants: attackers have their own machines.
os.setPriority(os.constants.priority.PRIORITY_LOW);
process.stdout.write('ready');
await once(process.stdin, 'data');
process.stdin.destroy();
const flooded = await runFlood({ ports: { http: 0, https: Number(port) } }, flood, Number(share));
process.stdout.write(JSON.stringify(flooded));
