import { loadAuthority } from '../ca/root.ts';
import type { LocalConfig } from '../config.ts';
import { loadSessionSecret } from '../session-secret.ts';
import { prepareStateDir } from '../state-dir.ts';
import type { Platform } from './platform.ts';

/** What a controller has that is the only one and writes to no cluster: its keys in a state directory, and nothing to lead. */
export function onThisMachine(
  state: string,
  trustDomain: string,
  given?: LocalConfig['given'],
): Omit<Platform, 'source' | 'assignments' | 'authenticator'> {
  return {
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
