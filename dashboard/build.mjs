/** Builds the page into a folder: `node dashboard/build.mjs dist/dashboard`. */
import process from 'node:process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, '..', 'dist', 'dashboard');
mkdirSync(out, { recursive: true });
await build({
  entryPoints: {
    app: join(here, 'src', 'main.tsx'),
    worker: join(here, 'src', 'graph', 'worker.ts'),
    style: join(here, 'src', 'style.css'),
  },
  outdir: out,
  bundle: true,
  format: 'esm',
  target: 'es2023',
  minify: true,
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'linked',
  logLevel: 'warning',
  tsconfigRaw: {},
});
for (const name of ['index.html', 'icon.svg']) copyFileSync(join(here, name), join(out, name));
