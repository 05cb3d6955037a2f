import * as agent from '../../agent/config.ts';
import { FLAGS as CONTROLLER, isSource, type Flag, type Mode } from '../../controller/config-flags.ts';
import * as waypoint from '../../waypoint/config.ts';
import * as ztunnel from '../../ztunnel/config.ts';
import { agentWords, waypointWords, ztunnelWords } from './flag-words.ts';
import { code, pageOf, table } from './markdown.ts';

const HEADS = ['flag', 'default', 'allowed', 'what it says'];
const INTRODUCTION = `Each flag \`--some-flag VALUE\` can be given as \`LOAM_SOME_FLAG\` in the environment; the flag wins. A value that is not allowed
ends the program with exit code 2 and a line that names the flag, the value and what is allowed. In a cluster and in the local mesh these
are set for you; this page is for reading what a running program was given.`;

interface Program {
  readonly rules: Readonly<Record<string, { readonly allowed: string }>>;
  readonly defaults: Readonly<Record<string, string | undefined>>;
  readonly words: Readonly<Record<string, string>>;
}

function ofNode({ rules, defaults, words }: Program): string {
  return table(
    HEADS,
    Object.entries(rules).map(([flag, { allowed }]) => [
      code(`--${flag}`),
      code(defaults[flag]),
      allowed,
      words[flag] ?? '',
    ]),
  );
}

function ofController(): string {
  const where: Readonly<Record<Mode, string>> = {
    directory: 'with `--manifests`',
    copy: 'with `--objects`',
    kubernetes: 'in Kubernetes',
  };
  return table(
    HEADS.toSpliced(2, 1, 'value'),
    CONTROLLER.map((flag: Flag) => [
      code(`--${flag.name}`),
      code(flag.default),
      code(flag.value),
      flag.modes === undefined || isSource(flag)
        ? flag.help
        : `${flag.help} (${flag.modes.map((mode) => where[mode]).join(' and ')} only)`,
    ]),
  );
}

export function flagsPage(): string {
  const cleanup = 'Beside these, `--cleanup` removes everything of the instance from the kernel, and ends.';
  return pageOf(
    'Flags of the programs',
    INTRODUCTION,
    '## ztunnel',
    ofNode({ rules: ztunnel.FLAGS, defaults: ztunnel.DEFAULTS, words: ztunnelWords }),
    '## waypoint',
    ofNode({ rules: waypoint.FLAGS, defaults: waypoint.DEFAULTS, words: waypointWords }),
    '## agent',
    ofNode({ rules: agent.FLAGS, defaults: agent.DEFAULTS, words: agentWords }),
    cleanup,
    '## controller',
    ofController(),
  );
}
