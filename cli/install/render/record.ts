import { ownVersion } from '../../version.ts';
import { partMeta, type Installation, type Manifest } from './manifest.ts';

/** What is known of an installation afterwards: `loam upgrade` keeps its values, `loam uninstall` and `loam check` read them. */
export const RECORD_NAME = 'loam-installation';

export interface InstallationRecord extends Manifest {
  readonly data: { readonly version: string; readonly values: string };
}

/** The values of an installation, in the cluster. */
export function record({ namespace, values }: Installation): InstallationRecord {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: partMeta(namespace, RECORD_NAME),
    data: { version: ownVersion(), values: JSON.stringify(values) },
  };
}
