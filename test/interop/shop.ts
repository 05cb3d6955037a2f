import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { packageRoot } from '../../lib/package-root.ts';
import { appFile } from '../mesh/harness.ts';

const SHOP = join(packageRoot(), 'deploy', 'examples', 'shop');

/** The demo's manifests and programs, by their path: for a mesh of a test's own. */
export function shopFiles(): Record<string, string> {
  const files = readdirSync(SHOP, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [relative(SHOP, path), readFileSync(path, 'utf8')];
    }),
  );
}

/** The shop's Gateway with more annotations. */
export function withAnnotations(gateway: string, annotations: Readonly<Record<string, string>>): string {
  const lines = Object.entries(annotations).map(([key, value]) => `    ${key}: ${JSON.stringify(value)}\n`);
  const changed = gateway.replace(/^ {2}annotations:\n/m, (found) => found + lines.join(''));
  if (changed === gateway) throw new Error("the shop's Gateway has no annotations to add to");
  return changed;
}

/** A Service behind the shop's waypoint with one pod, which tells what it was asked. @param next URL of whom it asks in turn */
export function relay(name: string, node: string, next?: string): string {
  const labels = { app: name };
  const documents = [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: 'shop' } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: 'shop', labels: { 'loam.dev/use-waypoint': 'waypoint' } },
      spec: {
        selector: labels,
        ports: [{ name: 'http', port: 80, targetPort: 80, appProtocol: 'http' }],
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        ...{ name, namespace: 'shop', labels },
        annotations: { 'local.loam.dev/command.app': `node ${appFile('relay.mjs')}` },
      },
      spec: {
        nodeName: node,
        serviceAccountName: name,
        containers: [
          {
            ...{ name: 'app', image: 'test', ports: [{ containerPort: 80 }] },
            ...(next !== undefined && { env: [{ name: 'NEXT', value: next }] }),
          },
        ],
      },
    },
  ];
  // JSON is YAML.
  return documents.map((document) => `---\n${JSON.stringify(document)}\n`).join('');
}
