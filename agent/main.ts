/** The node agent's entry point. */
import { Redirection } from '../lib/linux/bpf/index.ts';
import { requireKernel } from '../lib/linux/bpf/kernel-check.ts';
import { errorText } from '../lib/loam-error.ts';
import { startAgent } from './agent.ts';
import { ConfigError, readConfig, type AgentConfig } from './config.ts';
import { makeLogger } from './log.ts';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

function configOrExit(): AgentConfig {
  try {
    return readConfig(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`agent: ${error.message}\n`);
    process.exit(EXIT_USAGE);
  }
}

const config = configOrExit();
const log = makeLogger(config.logLevel, config.node);

/** The supervisor starts the agent again; until then the kernel goes on enforcing. */
function die(error: unknown, what: string): never {
  log.fatal({ error: errorText(error), stack: error instanceof Error ? error.stack : undefined }, what);
  process.exit(EXIT_FAILURE);
}
process.on('uncaughtException', (error) => die(error, 'an error that nothing expected; ending'));
process.on('unhandledRejection', (error) => die(error, 'a rejection that nothing expected; ending'));

if (config.cleanup) {
  try {
    Redirection.remove(config.instance, config.bpffs === undefined ? {} : { bpffs: config.bpffs });
    log.info({ instance: config.instance }, 'removed everything of the instance');
    process.exit(0);
  } catch (error) {
    die(error, 'cannot remove the instance');
  }
}

log.info({ config }, 'starting');
try {
  requireKernel();
} catch (error) {
  die(error, 'this kernel cannot run the agent');
}
const agent = await startAgent(config, log, (error) => die(error, 'a part failed; ending')).catch(
  (error: unknown) => die(error, 'cannot start'),
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
