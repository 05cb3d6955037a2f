import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterPlan } from './plan.ts';

/**
 * Writes a kubeconfig that needs no other file.
 *
 * @param holder whose certificate it has (certificates.ts)
 */
export function writeKubeconfig(plan: ClusterPlan, holder: string, server: string, file: string): void {
  const data = (name: string): string => readFileSync(join(plan.pki, name)).toString('base64');
  const name = `loam-${plan.name}`;
  writeFileSync(
    file,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name, cluster: { server, 'certificate-authority-data': data('ca.crt') } }],
      users: [
        {
          name: holder,
          user: {
            'client-certificate-data': data(`${holder}.crt`),
            'client-key-data': data(`${holder}.key`),
          },
        },
      ],
      contexts: [{ name, context: { cluster: name, user: holder } }],
      'current-context': name,
    }),
    { mode: 0o600 },
  );
}
