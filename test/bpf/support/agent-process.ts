/** A process that plays the agent: opens an instance, enrols a pod, says so, and then lives until it is killed. */
import { openNetns, netnsCookie } from '../../../lib/linux/netns.ts';
import { Redirection } from '../../../lib/linux/bpf/index.ts';
import { listenSteered } from '../../../lib/linux/socket.ts';

const [instance, netnsPath, ip] = process.argv.slice(2);
if (instance === undefined || netnsPath === undefined || ip === undefined) {
  throw new Error('arguments: instance, path of the network namespace, address of the pod');
}
const netnsFd = openNetns(netnsPath);
const redirection = Redirection.open({ instance });
const listeners = {
  outbound: listenSteered({ netnsFd }),
  plaintext: listenSteered({ netnsFd }),
  hbone: listenSteered({ netnsFd }),
};
redirection.enrol({ netnsFd, cookie: netnsCookie(netnsFd), ips: [ip], listeners });
console.log('enrolled');
setInterval(() => undefined, 60_000);
