/** `npm run docs:reference`: writes the generated pages of docs/reference. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../lib/package-root.ts';
import { generatedPages } from './pages.ts';

const folder = join(packageRoot(), 'docs', 'reference');
mkdirSync(folder, { recursive: true });
for (const [name, text] of await generatedPages()) writeFileSync(join(folder, name), text);
// Libraries of the command line may hold timers.
process.exit();
