import type { Dashboard } from './dashboard.ts';
import { controlPlane, node } from './programs.ts';
import { mesh, service, workload } from './traffic.ts';

/** All dashboards, by the name of their file without `.json`. */
export const DASHBOARDS: Readonly<Record<string, Dashboard>> = {
  mesh,
  service,
  workload,
  node,
  'control-plane': controlPlane,
};
