/** The node agent's entry point. */
import { runAgent } from './run.ts';

await runAgent(process.argv.slice(2));
