/** The agent as a version of Loam has it whose maps are laid out otherwise (next-layout.ts). */
import { runAgent } from '../../../../agent/run.ts';
import { nextLayout } from '../next-layout.ts';

await runAgent(process.argv.slice(2), nextLayout);
