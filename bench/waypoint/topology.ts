import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { IP, netnsOf, PLACES } from './plan.ts';

/** Makes the namespaces, joined by a switch in a fourth one: nothing of it touches the machine's own network. */
export function makeTopology(): void {
  removeTopology();
  const sw = netnsOf('switch');
  ip('netns', 'add', sw);
  ip('-n', sw, 'link', 'add', 'br0', 'type', 'bridge');
  ip('-n', sw, 'link', 'set', 'br0', 'up');
  for (const place of PLACES) {
    const netns = netnsOf(place);
    ip('netns', 'add', netns);
    ip('-n', netns, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', place, 'netns', sw);
    ip('-n', sw, 'link', 'set', place, 'master', 'br0', 'up');
    ip('-n', netns, 'addr', 'add', `${IP[place]}/24`, 'dev', 'eth0');
    ip('-n', netns, 'link', 'set', 'lo', 'up');
    ip('-n', netns, 'link', 'set', 'eth0', 'up');
  }
}

/** Removes what {@link makeTopology} made, also that of a run that was killed. */
export function removeTopology(): void {
  for (const place of [...PLACES, 'switch'] as const) {
    if (existsSync(`/run/netns/${netnsOf(place)}`)) ip('netns', 'del', netnsOf(place));
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}
