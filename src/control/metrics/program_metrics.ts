/** The program itself: its build, its processes, its configuration, its log. */
import type { ControlPlane } from '../plane.ts';
import { counter, gauge } from './families.ts';
import type { Family, Row } from './families.ts';
import { defects } from '../../defects.ts';
import { VERSION } from '../../version.ts';

type Plane = Pick<ControlPlane, 'proxies' | 'reloads' | 'droppedLogLines' | 'startedAt' | 'health' | 'processUsage'>;

export function programMetrics(plane: Plane): readonly Family[] {
  const proxies = plane.proxies.status();
  const { done, refused, lastDone, lastDoneAt } = plane.reloads();
  const processes: readonly (readonly [string, number, number])[] = [
    ['control', process.memoryUsage.rss(), ownCpuSeconds()],
    ...proxies.flatMap(({ slot, pid }) => {
      const usage = pid === null ? null : plane.processUsage(pid);
      return usage === null ? [] : [[`proxy/${slot}`, usage.memory, usage.cpuSeconds] as const];
    }),
  ];
  return [
    gauge(
      'proxy_build_info',
      'Always 1; its labels say what runs',
      ['version', 'node'],
      [[1, VERSION, process.versions.node]],
    ),
    gauge(
      'proxy_start_time_seconds',
      'When the control plane was started, in seconds since the epoch',
      [],
      [[plane.startedAt / 1_000]],
    ),
    gauge('proxy_ready', '1 if /readyz says so', [], [[plane.health().ready ? 1 : 0]]),
    gauge(
      'proxy_process_memory_bytes',
      'Resident memory of the control plane and of each proxy, pages they share divided among them where that can be seen',
      ['process'],
      processes.map(([name, memory]): Row => [memory, name]),
    ),
    counter(
      'proxy_process_cpu_seconds_total',
      'CPU time of the control plane and of each proxy, since that process began',
      ['process'],
      processes.map(([name, , cpu]): Row => [cpu, name]),
    ),
    gauge(
      'proxy_process_up',
      '1 if a proxy serves',
      ['process'],
      proxies.map(({ slot, state }): Row => [state === 'ready' || state === 'draining' ? 1 : 0, `proxy/${slot}`]),
    ),
    counter(
      'proxy_process_restarts_total',
      'Proxies that another one followed',
      ['process'],
      proxies.map(({ slot, restarts }): Row => [restarts, `proxy/${slot}`]),
    ),
    counter(
      'proxy_config_reloads_total',
      'Reloads of the configuration, by how they ended',
      ['result'],
      [
        [done, 'done'],
        [refused, 'refused'],
      ],
    ),
    gauge('proxy_config_last_reload_successful', '0 if the last one was refused', [], [[lastDone ? 1 : 0]]),
    gauge(
      'proxy_config_last_reload_success_timestamp_seconds',
      'Since when the configuration is in force, in seconds since the epoch',
      [],
      [[lastDoneAt / 1_000]],
    ),
    counter('proxy_defects_total', 'Exceptions of our own code that were survived', [], [[defects()]]),
    counter('proxy_log_dropped_lines_total', 'Log lines nobody took in time', [], [[plane.droppedLogLines()]]),
  ];
}

function ownCpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
