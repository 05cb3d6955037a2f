import type { Logger } from 'pino';
import { TokenTable } from '../auth/tokens.ts';
import { loadAuthority } from '../ca/root.ts';
import type { LocalConfig } from '../config.ts';
import { loadSessionSecret } from '../session-secret.ts';
import { AssignmentsSource } from '../sources/assignments.ts';
import { DirectorySource } from '../sources/directory.ts';
import { LastGoodStore } from '../sources/last-good.ts';
import { prepareStateDir } from '../state-dir.ts';
import type { Platform } from './platform.ts';

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
    authority: async () => {
      await prepareStateDir(state);
      return loadAuthority({ stateDir: state, trustDomain, ...(given !== undefined && { given }) });
    },
    // Files are read at the start.
    onAuthority: () => undefined,
    sessionSecret: async () => {
      await prepareStateDir(state);
      return loadSessionSecret(state);
    },
    gates: () => [],
    begin: () => undefined,
    end: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}
