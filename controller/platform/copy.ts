import type { Logger } from 'pino';
import { TokenTable } from '../auth/tokens.ts';
import type { CopyConfig } from '../config.ts';
import { ObjectsCopy } from '../sources/kubernetes/objects-copy.ts';
import { KubernetesSource } from '../sources/kubernetes/source.ts';
import type { Platform } from './platform.ts';
import { onThisMachine } from './this-machine.ts';

/**
 * A cluster's objects out of a copy, read and compiled as those of its API server are; tokens and keys from files of this machine.
 * It writes to no cluster, leads nothing and makes no waypoints.
 *
 * @throws ControllerError CONFIG when the copy cannot be used
 */
export function copyPlatform(
  { objects, state, tokens }: CopyConfig,
  { rootNamespace, trustDomain }: { readonly rootNamespace: string; readonly trustDomain: string },
  log: Logger,
): Platform {
  const client = ObjectsCopy.read(objects);
  const source = new KubernetesSource({ client, rootNamespace, trustDomain, log });
  return {
    source,
    assignments: source.assignments,
    authenticator: new TokenTable(tokens, log),
    ...onThisMachine(state, trustDomain),
  };
}
