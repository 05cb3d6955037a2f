import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../lib/package-root.ts';
import { fence, pageOf } from './markdown.ts';

const INTRODUCTION = `What \`loam install\` and \`loam upgrade\` take by \`--set KEY=VALUE\` and \`--values FILE\`, and Helm for \`deploy/chart\` likewise, with the defaults.
\`deploy/chart/values.schema.json\` says what is allowed; a key that is not there is refused.`;

export function valuesPage(): string {
  const values = readFileSync(join(packageRoot(), 'deploy', 'chart', 'values.yaml'), 'utf8');
  return pageOf('Values of an installation', INTRODUCTION, fence('yaml', values));
}
