import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { IPV4, IPV6 } from './support/families.ts';
import { Lab, run, type Pod } from './support/lab.ts';
import { MPTCP, Sock } from './support/socket.ts';
import { TinyMesh } from './support/tiny-mesh.ts';

const PORT = 9600;
const SECOND = { 4: '198.18.80.200', 6: 'fd00:80::200' };
const PATIENCE_MS = 5_000;
const POLL_MS = 20;

/** A counter of a pod's network, by the name that nstat gives it. */
function count(pod: Pod, name: string): number {
  const out = run(`nsenter --net=/run/netns/${pod.netns} nstat -asz ${name}`);
  return Number(new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(out)?.[1]);
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < PATIENCE_MS / POLL_MS; i++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  assert.fail(`in vain waited for ${what}`);
}

/** A further subflow (RFC 8684 section 3.2) is made by the kernel itself: no application calls connect() for it. */
describe('bpf: further subflows of MPTCP connections that are older than the enrolment (t11)', () => {
  let lab: Lab;
  let mesh: TinyMesh;
  const open: Disposable[] = [];

  beforeEach(() => {
    lab = new Lab();
    mesh = new TinyMesh();
  });
  afterEach(() => {
    for (const socket of open.splice(0)) socket[Symbol.dispose]();
    mesh?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  for (const { name, family, own, any } of [IPV4, IPV6]) {
    /** One connection from one pod to the other, and a way to have the client's kernel add a subflow to it. */
    function connected(client: Pod, server: Pod) {
      run(`for pod in ${client.netns} ${server.netns}; do
          ip -n $pod mptcp limits set subflows 2 add_addr_accepted 2
        done
        ip -n ${client.netns} addr add ${SECOND[family]}/${family === 4 ? 24 : '64 nodad'} dev eth0`);
      const options = { family, protocol: MPTCP };
      const listener = Sock.listen(server.netnsFd, any, PORT, options);
      const socket = Sock.open(client.netnsFd, options).bind(own(client), 0);
      assert.equal(socket.connect(own(server), PORT), 'ok');
      const accepted = listener.accept();
      assert.ok(accepted);
      open.push(listener, socket, accepted);
      const talk = (): void => {
        socket.send('ping');
        assert.equal(accepted.socket.receive(), 'ping');
        accepted.socket.send('pong');
        assert.equal(socket.receive(), 'pong');
      };
      // Each end may add subflows only when it knows that the other one speaks MPTCP.
      for (let i = 0; i < 3; i++) talk();
      const addSubflow = (): string =>
        run(`ip -n ${client.netns} mptcp endpoint add ${SECOND[family]} dev eth0 subflow`);
      const joins = (): number => count(server, 'MPTcpExtMPJoinAckRx');
      return { talk, addSubflow, joins };
    }

    it(`join where nobody is enrolled: the control (${name})`, async () => {
      const { talk, addSubflow, joins } = connected(lab.pod('c'), lab.pod('a'));
      addSubflow();
      await until('the subflow', () => joins() > 0);
      talk();
    });

    it(`into a pod come to its plaintext listener, and join nothing (${name})`, async () => {
      const pod = lab.pod('a');
      const { talk, addSubflow, joins } = connected(lab.pod('c'), pod);
      mesh.enrol(pod);
      addSubflow();
      await until('the subflow', () => mesh.counter('steeredPlaintext') > 0);
      talk();
      assert.equal(joins(), 0);
      talk();
    });

    it(`out of a pod come to its outbound listener, and join nothing (${name})`, async () => {
      const pod = lab.pod('a');
      const server = lab.pod('c');
      const { talk, addSubflow, joins } = connected(pod, server);
      mesh.enrol(pod);
      addSubflow();
      await until('the subflow', () => mesh.counter('steeredOutbound') > 0);
      talk();
      assert.equal(joins(), 0);
      assert.equal(count(server, 'MPTcpExtMPJoinSynRx'), 0);
      talk();
    });
  }
});
