/**
 * A process that plays the agent of the next layout: takes an instance over, and dies before the given step of that, or
 * says how many there were and ends.
 */
import { openNetns } from '../../../lib/linux/netns.ts';
import { Redirection } from '../../../lib/linux/bpf/index.ts';
import { nextLayout } from '../../support/next-layout/next-layout.ts';
import { inSteps } from './steps.ts';

const [instance, hostNetns, dieBefore] = process.argv.slice(2);
if (instance === undefined || hostNetns === undefined || dieBefore === undefined) {
  throw new Error('arguments: instance, path of the namespace of the bridge, number of the step');
}
const guard = { hostNetnsFd: openNetns(hostNetns) };
const steps = inSteps(
  () => Redirection.open({ instance, guard, layout: nextLayout() }).close(),
  (step) => {
    if (step === Number(dieBefore)) process.kill(process.pid, 'SIGKILL');
  },
);
console.log(JSON.stringify(steps));
