import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import type { V1DaemonSet } from '@kubernetes/client-node';
import { objectsOf } from '../../cli/install/render/objects.ts';
import { valuesOf } from '../../cli/install/values.ts';
import { packageRoot } from '../../lib/package-root.ts';
import type { Status } from '../../agent/status.ts';
import { PATIENCE } from '../support/patience.ts';
import { Lab, type Pod } from './support/lab.ts';
import { newInstanceName } from './support/tiny-mesh.ts';

const WAIT_MS = 60_000 * PATIENCE;
const NOBODY = '65532';
/** How a program says it: the kernel refuses, has nothing to offer, or does not show the namespace. */
const WITHOUT = /EPERM|EACCES|not permitted|BPF_|may load no BPF programs|no network namespace at/;

/** What the DaemonSet gives a program. */
function granted(program: 'agent' | 'ztunnel'): readonly string[] {
  const daemonSet = objectsOf({ namespace: 'loam-system', values: valuesOf([]) }).find(
    ({ kind, metadata }) => kind === 'DaemonSet' && metadata.name === `loam-${program}`,
  ) as V1DaemonSet | undefined;
  return daemonSet?.spec?.template.spec?.containers[0]?.securityContext?.capabilities?.add ?? [];
}

/** The command line of a process of root that has these capabilities alone, as a container has. */
function confined(capabilities: readonly string[]): string[] {
  const bounding = ['-all', ...capabilities.map((name) => `+${name.toLowerCase()}`)].join();
  return ['setpriv', `--bounding-set=${bounding}`, '--inh-caps=-all', '--no-new-privs', '--'];
}

/**
 * Each capability of the node's programs is there for something: without it the program does not do its work. The agent works on a pod
 * whose process is another user's, with an interface to guard and an IPv6 address to make a route for.
 */
describe('capabilities', function () {
  this.timeout(4 * WAIT_MS);
  const lab = new Lab();
  const folder = mkdtempSync(join(tmpdir(), 'loam-capabilities-'));
  let pod: Pod;
  let inPod: ChildProcess;

  before(async () => {
    pod = lab.pod('web');
    const asNobody = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--'];
    inPod = spawn('nsenter', [`--net=/run/netns/${pod.netns}`, '--', ...asNobody, 'sleep', 'infinity']);
    await once(inPod, 'spawn');
    // Until it is the other user's.
    const isNobodys = (): boolean =>
      readFileSync(`/proc/${inPod.pid}/status`, 'utf8').includes(`Uid:\t${NOBODY}`);
    while (!isNobodys()) await sleep(20);
  });
  after(() => {
    inPod.kill('SIGKILL');
    lab[Symbol.dispose]();
    rmSync(folder, { recursive: true });
  });

  /** Lets an agent with these capabilities enrol the pod. @returns undefined when it did; else what kept it */
  async function agentWith(capabilities: readonly string[]): Promise<string | undefined> {
    const instance = newInstanceName();
    const [pods, status] = [join(folder, 'pods.json'), join(folder, `${instance}.sock`)];
    const entry = {
      uid: 'uid-1',
      name: 'web',
      namespace: 'shop',
      serviceAccount: 'web',
      netns: `/proc/${inPod.pid}/ns/net`,
      ips: pod.ips,
      labels: { 'loam.dev/dataplane-mode': 'ambient' },
    };
    writeFileSync(pods, JSON.stringify({ pods: [entry] }));
    const flags = ['--instance', instance, '--node', 'n', '--pods', pods, '--status', status];
    const main = [process.execPath, join(packageRoot(), 'agent', 'main.ts'), ...flags];
    const zds = ['--zds', join(folder, `${instance}.zds`)];
    const agent = spawn(
      'nsenter',
      [`--net=/run/netns/${lab.hostNetns}`, '--', ...confined(capabilities), ...main, ...zds],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let said = '';
    for (const stream of [agent.stdout, agent.stderr])
      stream.on('data', (part: Buffer) => (said += part.toString()));
    try {
      for (const deadline = Date.now() + WAIT_MS; Date.now() < deadline; await sleep(100)) {
        if (agent.exitCode !== null) return `it ended: ${said.trim().split('\n').at(-1)}`;
        const [found] = (await statusAt(status))?.pods ?? [];
        if (found?.problem !== undefined) return found.problem;
        if (
          found?.state === 'verified' &&
          found.guard.guarded.length > 0 &&
          found.guard.unguarded.length === 0
        )
          return undefined;
      }
      return `the pod was not enrolled: ${said}`;
    } finally {
      agent.kill('SIGKILL');
      const cleanup = ['--instance', instance, '--cleanup'];
      const cleaner = spawn('nsenter', [
        `--net=/run/netns/${lab.hostNetns}`,
        '--',
        ...main.slice(0, 2),
        ...cleanup,
      ]);
      await once(cleaner, 'close');
    }
  }

  function statusAt(socketPath: string): Promise<Status | undefined> {
    return new Promise((resolve) => {
      get({ socketPath, path: '/status' }, (response) => {
        let text = '';
        response.on('data', (part: Buffer) => (text += part.toString()));
        response.on('end', () => resolve(JSON.parse(text) as Status));
      }).on('error', () => resolve(undefined));
    });
  }

  /** Lets a process with these capabilities do what ztunnel does in a pod's namespace: make a socket there. */
  function ztunnelWith(capabilities: readonly string[]): Promise<string | undefined> {
    const root = packageRoot();
    const code = `
      const { openNetns } = await import(${JSON.stringify(join(root, 'lib/linux/netns.ts'))});
      const { listenSteered } = await import(${JSON.stringify(join(root, 'lib/linux/socket.ts'))});
      listenSteered({ netnsFd: openNetns(${JSON.stringify(`/run/netns/${pod.netns}`)}) });`;
    const [command = '', ...args] = [
      ...confined(capabilities),
      process.execPath,
      '--input-type=module',
      '-e',
      code,
    ];
    return new Promise((resolve) =>
      execFile(command, args, (error, _, stderr) => resolve(error === null ? undefined : stderr)),
    );
  }

  for (const [program, works] of [
    ['agent', agentWith],
    ['ztunnel', ztunnelWith],
  ] as const) {
    const all = granted(program);

    it(`of the ${program} suffice`, async () => {
      assert.equal(await works(all), undefined);
    });

    for (const one of all)
      it(`of the ${program}: without ${one} it does not work`, async () => {
        const why = await works(all.filter((each) => each !== one));
        assert.match(why ?? `it works without ${one}`, WITHOUT);
      });

    it(`of the ${program} are those that docs/capabilities.md explains`, () => {
      const page = readFileSync(join(packageRoot(), 'docs', 'capabilities.md'), 'utf8');
      const rows = [...page.matchAll(/^\| (\w+) \| `(\w+)` \|/gm)];
      const explained = rows.filter(([, name]) => name === program).map(([, , capability]) => capability);
      assert.deepEqual(explained.sort(), [...all].sort());
    });
  }
});
