/** Everything that is exposed. `config/metrics.md` lists it. */
import type { ControlPlane } from '../plane.ts';
import { certificateMetrics } from './certificate_metrics.ts';
import type { Family } from './families.ts';
import { programMetrics } from './program_metrics.ts';
import { serviceMetrics } from './service_metrics.ts';
import { trafficMetrics } from './traffic_metrics.ts';

export function collectMetrics(plane: ControlPlane): readonly Family[] {
  return [...trafficMetrics(plane), ...serviceMetrics(plane), ...certificateMetrics(plane), ...programMetrics(plane)];
}
