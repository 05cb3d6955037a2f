/** The node agent from its flags to its end. */
import { setTimeout } from 'node:timers/promises';
import { Redirection } from '../lib/linux/bpf/index.ts';
import { currentLayout, type Layout } from '../lib/linux/bpf/instance-layout.ts';
import { requireKernel } from '../lib/linux/bpf/kernel-check.ts';
import { errorText } from '../lib/loam-error.ts';
import { startAgent } from './agent.ts';
import { ConfigError, readConfig, type AgentConfig } from './config.ts';
import { removeEntry, removeProgram } from './kubernetes/cni/files.ts';
import { makeLogger } from './log.ts';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;
const LOG_TURN_MS = 10;
const FORGET_MS = 2_000;

const CLEANED = {
  'takes-plaintext': 'every pod of the instance takes plaintext',
  plain: 'every pod of the instance has plain networking',
  remove: 'removed everything of the instance',
} as const;

type Log = ReturnType<typeof makeLogger>;

function configOrExit(args: readonly string[]): AgentConfig {
  try {
    return readConfig(args);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`agent: ${error.message}\n`);
    process.exit(EXIT_USAGE);
  }
}

/** The supervisor starts the agent again; until then the kernel goes on enforcing. */
function die(log: Log, error: unknown, what: string): never {
  log.fatal({ error: errorText(error), stack: error instanceof Error ? error.stack : undefined }, what);
  process.exit(EXIT_FAILURE);
}

/**
 * For what fails after it held this thread for long, as loading BPF programs does: the log is told first that its earlier lines
 * were written. It would else take their reader, where that is a socket, for one that stalls, and drop the reason.
 */
async function dieOfStart(log: Log, error: unknown, what: string): Promise<never> {
  await setTimeout(LOG_TURN_MS);
  return die(log, error, what);
}

function cleanUp({ instance, bpffs, cleanupStep, cni }: AgentConfig, log: Log): never {
  try {
    // While an agent runs, it is no uninstall that is wanted, and the plugin is the agent's.
    Redirection.requireUnused(instance, bpffs);
    // Then this, since until then no new pod starts: nobody answers the plugin any more.
    const hadPlugin = cni !== undefined && removeEntry(cni.folders);
    if (cleanupStep !== 'remove') Redirection.beginRemoval(instance, cleanupStep, bpffs);
    else Redirection.remove(instance, bpffs === undefined ? {} : { bpffs });
    // The runtime has to have read its list without our entry before the program goes.
    if (hadPlugin) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FORGET_MS);
    if (cni !== undefined && cleanupStep === 'remove') removeProgram(cni.folders);
  } catch (error) {
    die(log, error, 'cannot remove the instance');
  }
  log.info({ instance }, CLEANED[cleanupStep]);
  process.exit(0);
}

/**
 * Runs the agent in this process, or cleans up after one, as the flags say.
 *
 * @param layout of its maps, and the objects; those of this version by default. Read once, here: files that are replaced
 *   under a running agent do not matter to it
 */
export async function runAgent(args: readonly string[], layout?: () => Layout): Promise<void> {
  const config = configOrExit(args);
  const log = makeLogger(config.logLevel, config.node);
  process.on('uncaughtException', (error) => die(log, error, 'an error that nothing expected; ending'));
  process.on('unhandledRejection', (error) => die(log, error, 'a rejection that nothing expected; ending'));
  if (config.cleanup) cleanUp(config, log);

  log.info({ config }, 'starting');
  try {
    requireKernel();
  } catch (error) {
    await dieOfStart(log, error, 'this kernel cannot run the agent');
  }
  const failed = (error: Error): never => die(log, error, 'a part failed; ending');
  const agent = await startAgent(config, (layout ?? currentLayout)(), log, failed).catch((error: unknown) =>
    dieOfStart(log, error, 'cannot start'),
  );
  log.info('started');

  let stopping = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (stopping) return;
      stopping = true;
      log.info({ signal }, 'stopping; what is enrolled stays enrolled');
      void agent.stop().then(() => process.exit(0));
    });
  }
}
