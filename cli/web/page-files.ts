import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { packageRoot } from '../../lib/package-root.ts';
import { LocalMeshError } from '../local/errors.ts';

export interface PageFile {
  readonly type: string;
  readonly bytes: Buffer;
}

/** The page's files by path: `/index.html`. */
export type PageFiles = ReadonlyMap<string, PageFile>;

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** Reads all that the build made of dashboard/; nothing else is ever served. @throws LocalMeshError when it is not built */
export function pageFiles(dir: string = join(packageRoot(), 'dist', 'dashboard')): PageFiles {
  if (!existsSync(join(dir, 'index.html')))
    throw new LocalMeshError('LOCAL_MESH_STATE', `${dir} has no page: npm run build makes it`);
  return new Map(
    readdirSync(dir).flatMap((name): [string, PageFile][] => {
      const type = TYPES[extname(name)];
      return type === undefined ? [] : [[`/${name}`, { type, bytes: readFileSync(join(dir, name)) }]];
    }),
  );
}
