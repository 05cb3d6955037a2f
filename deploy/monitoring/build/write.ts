/** Writes the dashboards' JSON: `npm run dashboards`. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../../lib/package-root.ts';
import { DASHBOARDS } from './all.ts';
import { grafanaJson } from './dashboard.ts';

const FOLDER = join(packageRoot(), 'deploy', 'monitoring', 'grafana');

for (const [name, dashboard] of Object.entries(DASHBOARDS))
  writeFileSync(join(FOLDER, `${name}.json`), `${JSON.stringify(grafanaJson(dashboard), undefined, 2)}\n`);
