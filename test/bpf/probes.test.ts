import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { after, afterEach, before, describe, it } from 'mocha';
import type { Kubelet } from '../../lib/linux/bpf/index.ts';
import { FAMILIES } from './support/families.ts';
import { PATIENCE } from '../support/patience.ts';
import { Lab, run, type Pod } from './support/lab.ts';
import { Sock } from './support/socket.ts';
import { TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

const PORT = 9100;
const ARRIVES_MS = 5000 * PATIENCE;
/** Dials when it is told where, on a thread of its own as the kubelet does, and says from which port. */
const DIALLER = String.raw`
import socket, sys, threading
def dial(ip, port):
    s = socket.create_connection((ip, port), 5)
    print(s.getsockname()[1], flush=True)
    s.close()
print('here', flush=True)
for line in sys.stdin:
    ip, port = line.split()
    t = threading.Thread(target=dial, args=(ip, int(port)))
    t.start()
    t.join()
`;

/** How a process is named to the kernel as the kubelet. */
function kubelet(pid: number, node: Pod): Kubelet {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const ids = /^NSpid:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]?.split(/\s+/) ?? [];
  return {
    netns: node.cookie,
    start: Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]),
    pid: Number(ids.at(-1)),
    pidNamespace: Number(statSync(`/proc/${pid}/ns/pid`).ino),
  };
}

describe("bpf: the kubelet's probes", () => {
  let lab: Lab;
  let mesh: TinyMesh;
  let pod: MeshPod;
  /** Plays the node: it has a network namespace that no pod has. */
  let node: Pod;
  let elsewhere: Pod;
  let children: ChildProcess[];

  before(() => {
    lab = new Lab();
    mesh = new TinyMesh();
    pod = mesh.enrol(lab.pod('a'));
    mesh.redirection.setProbePorts(pod.pod, [PORT]);
    node = lab.pod('node');
    elsewhere = lab.pod('b');
    children = [];
  });
  afterEach(() => {
    mesh.redirection.setKubelet(undefined);
    mesh.redirection.setProbePorts(pod.pod, [PORT]);
  });
  after(() => {
    for (const child of children) child.kill('SIGKILL');
    mesh?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  /** Who got a connection from here to the pod. */
  function reached(
    from: Pod,
    options: { port?: number; to?: string; family?: 4 | 6; source?: number } = {},
  ): string {
    const { port = PORT, to = pod.pod.ip, family = 4, source } = options;
    using app = Sock.listen(pod.pod.netnsFd, family === 4 ? '0.0.0.0' : '::', PORT, { family });
    using client = Sock.open(from.netnsFd, { family });
    if (source !== undefined) client.bind('0.0.0.0', source);
    client.resetOnClose();
    assert.equal(client.connect(to, port), 'ok');
    return whoHas(app);
  }

  /** Waits for it: connect() returns before the other end has its last packet. */
  function whoHas(app: Sock): string {
    const { plaintext, hbone } = pod.listeners;
    const deadline = Date.now() + ARRIVES_MS;
    while (Date.now() < deadline) {
      for (const [name, listener] of Object.entries({ app, plaintext, hbone })) {
        using accepted = listener.accept(1);
        if (accepted !== undefined) return name;
      }
    }
    return 'nobody';
  }

  for (const { name, family, own } of FAMILIES) {
    it(`reach the application: ${name}`, () => {
      assert.equal(reached(node, { family, to: own(pod.pod) }), 'plaintext', 'as anybody before it is told');
      const before = mesh.counter('passedProbe');
      mesh.redirection.setKubelet(kubelet(process.pid, node));
      assert.equal(reached(node, { family, to: own(pod.pod) }), 'app');
      assert.equal(mesh.counter('passedProbe'), before + 1);
    });
  }

  it('reach it from any thread of the kubelet, also where that is in a pid namespace of its own', async () => {
    const enter = ['--net=/run/netns/' + node.netns, 'unshare', '--pid', '--fork', '--kill-child'];
    const child = spawn('nsenter', [...enter, 'python3', '-c', DIALLER], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    children.push(child);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    assert.equal((await lines.next()).value, 'here');
    const python = Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim());
    const named = kubelet(python, node);
    assert.equal(named.pid, 1, 'its id in its own namespace');
    using app = Sock.listen(pod.pod.netnsFd, '0.0.0.0', PORT);
    const dial = async (): Promise<string> => {
      child.stdin.write(`${pod.pod.ip} ${PORT}\n`);
      await lines.next();
      return whoHas(app);
    };
    assert.equal(await dial(), 'plaintext');
    mesh.redirection.setKubelet(named);
    assert.equal(await dial(), 'app');
    // This process has another id, and began at another time.
    using client = Sock.open(node.netnsFd);
    assert.equal(client.connect(pod.pod.ip, PORT), 'ok');
    assert.equal(whoHas(app), 'plaintext');
  });

  it('give nothing to another process of the node, its own children among them', () => {
    mesh.redirection.setKubelet(kubelet(process.pid, node));
    using app = Sock.listen(pod.pod.netnsFd, '0.0.0.0', PORT);
    run(`nsenter --net=/run/netns/${node.netns} bash -c 'exec 3<>/dev/tcp/${pod.pod.ip}/${PORT}'`);
    assert.equal(whoHas(app), 'plaintext');
  });

  it('are told from what only looks like them', () => {
    const own = kubelet(process.pid, node);
    for (const other of [
      { ...own, start: own.start - 1 },
      { ...own, pid: own.pid + 1 },
      { ...own, pidNamespace: own.pidNamespace + 1 },
      { ...own, netns: elsewhere.cookie },
    ]) {
      mesh.redirection.setKubelet(other);
      assert.equal(reached(node), 'plaintext', JSON.stringify({ ...other, netns: String(other.netns) }));
    }
    mesh.redirection.setKubelet(own);
    assert.equal(reached(node), 'app');
    assert.equal(reached(elsewhere), 'plaintext', 'a kubelet dials from its node');
  });

  it('leave nothing to whoever has their port next', () => {
    mesh.redirection.setKubelet(kubelet(process.pid, node));
    assert.equal(reached(node, { source: 45_001 }), 'app');
    assert.equal(mesh.redirection.fill()['probes']?.entries, 0);
    mesh.redirection.setKubelet(undefined);
    assert.equal(reached(node, { source: 45_001 }), 'plaintext');
  });

  it('do not reach listeners of the mesh past its steering', () => {
    mesh.redirection.setKubelet(kubelet(process.pid, node));
    const { port } = pod.listeners.plaintext.local();
    mesh.redirection.setProbePorts(pod.pod, [15008, port]);
    assert.equal(reached(node, { port: 15008 }), 'hbone');
    using client = Sock.open(node.netnsFd);
    assert.notEqual(client.connect(pod.pod.ip, port), 'ok');
  });

  it("reach no port that the pod itself does not have probed: another pod's probe may name any host", () => {
    mesh.redirection.setKubelet(kubelet(process.pid, node));
    const b = mesh.enrol(elsewhere);
    using app = Sock.listen(pod.pod.netnsFd, '0.0.0.0', PORT + 1);
    using client = Sock.open(node.netnsFd);
    assert.equal(client.connect(pod.pod.ip, PORT + 1), 'ok');
    assert.equal(whoHas(app), 'plaintext');
    // What one pod has probed opens nothing at another.
    mesh.redirection.setProbePorts(b.pod, [PORT + 1]);
    using again = Sock.open(node.netnsFd);
    assert.equal(again.connect(pod.pod.ip, PORT + 1), 'ok');
    assert.equal(whoHas(app), 'plaintext');
    mesh.redirection.setProbePorts(pod.pod, [PORT, PORT + 1]);
    using third = Sock.open(node.netnsFd);
    assert.equal(third.connect(pod.pod.ip, PORT + 1), 'ok');
    assert.equal(whoHas(app), 'app');
    mesh.redirection.setProbePorts(pod.pod, []);
    assert.equal(reached(node), 'plaintext');
    mesh.redirection.setProbePorts(pod.pod, [PORT]);
    mesh.redirection.unenrol(b.handle);
    assert.equal(mesh.redirection.fill()['probe_ports']?.entries, 1);
  });

  it('find room again: what did not come to be leaves nothing', () => {
    mesh.redirection.setKubelet(kubelet(process.pid, node));
    mesh.redirection.setProbePorts(pod.pod, [9]);
    using client = Sock.open(node.netnsFd);
    assert.equal(client.connect(pod.pod.ip, 9), 'ECONNREFUSED');
    assert.equal(mesh.redirection.fill()['probes']?.entries, 0);
  });
});
