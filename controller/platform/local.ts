import type { Logger } from 'pino';
import { TokenTable } from '../auth/tokens.ts';
import type { LocalConfig } from '../config.ts';
import { AssignmentsSource } from '../sources/assignments.ts';
import { DirectorySource } from '../sources/directory.ts';
import { LastGoodStore } from '../sources/last-good.ts';
import type { Platform } from './platform.ts';
import { onThisMachine } from './this-machine.ts';

/** Manifests, assignments and tokens from files of this machine; root key and session secret in a state directory. */
export function localPlatform(
  config: LocalConfig,
  mesh: { readonly rootNamespace: string; readonly trustDomain: string },
  log: Logger,
): Platform {
  const { manifests, assignments, state, tokens, given } = config;
  const { rootNamespace, trustDomain } = mesh;
  return {
    source: new DirectorySource({
      ...{ dir: manifests, rootNamespace, trustDomain, log },
      store: new LastGoodStore(state),
    }),
    assignments: new AssignmentsSource({ path: assignments, stateDir: state, log }),
    authenticator: new TokenTable(tokens, log),
    ...onThisMachine(state, trustDomain, given),
  };
}
