import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'mocha';
import { eventually, finished, loam, Mesh, type CommandResult } from './harness.ts';
import { BASE, namespaceManifest, podManifest, serverManifest, serviceManifest } from './manifests.ts';

describe('mesh: loam local', function () {
  this.timeout(120_000);
  let mesh: Mesh;
  const run = (...args: string[]): Promise<CommandResult> =>
    finished(loam('local', ...args, '--name', mesh.name));
  const exec = (pod: string, ...command: string[]): Promise<CommandResult> =>
    finished(loam('local', 'exec', '--name', mesh.name, pod, '--', ...command));

  before(() => {
    mesh = Mesh.prepare(BASE);
  });
  after(() => mesh.down());

  it('up says what it waits for and returns when all is ready', async () => {
    const { code, stdout, stderr } = await run('up', mesh.dir);
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /waiting for /);
    assert.match(stdout, /is ready: 2 nodes, 5 pods/);
  });

  it('a second up says what runs already', async () => {
    const again = await run('up', mesh.dir);
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stdout, /runs already, and follows/);
    const other = await run('up', '/');
    assert.equal(other.code, 1);
    assert.match(other.stderr, /runs already, of .*take it down first/);
  });

  it('status shows programs, pods, and what each object was compiled to', async () => {
    const { code, stdout } = await run('status');
    assert.equal(code, 0, stdout);
    assert.match(stdout, /ztunnel +node-b +pid \d+ +0 restarts +ready/);
    assert.match(stdout, /m\/client +node-a +198\.1[89]\.\S+ fd\S+ +client +ready +enrolled, verified/);
    assert.match(stdout, /m\/outsider .*not in the mesh/);
    assert.match(stdout, /Service m\/server \(services\.yaml\) +Address/);
    const json = JSON.parse((await run('status', '--json')).stdout) as { problems: unknown[] };
    assert.deepEqual(json.problems, []);
  });

  it('exec enters a pod: its names, processes, address; exit codes and signals come back', async () => {
    const inside = await exec('m/client', 'sh', '-c', 'hostname; cat /proc/1/comm; cat; exit 7');
    assert.equal(inside.stdout, 'client\nsh\n');
    assert.equal(inside.code, 7);
    assert.equal((await exec('client', 'sh', '-c', 'kill -9 $$')).code, 137);
    assert.equal((await exec('client', 'no-such-command')).code, 127);
    const unknown = await exec('nobody', 'true');
    assert.equal(unknown.code, 2);
    assert.match(unknown.stderr, /there is no pod "nobody"; there are: m\/client, /);
    const hidden = await exec('client', 'sh', '-c', 'ls -A /run/loam');
    assert.equal(hidden.stdout, '', 'keys and tokens of the mesh are not to be seen');
    const child = loam(
      'local',
      'exec',
      '--name',
      mesh.name,
      'client',
      '--',
      'sh',
      '-c',
      "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done",
    );
    child.stdout?.once('data', () => child.kill('SIGTERM'));
    assert.equal((await finished(child)).code, 5, 'SIGTERM reaches the command');
  });

  it('gives exec a terminal where there is one', async () => {
    // util-linux's script is a terminal for a command.
    const child = loam(
      'local',
      'exec',
      '--name',
      mesh.name,
      'client',
      '--',
      'script',
      '-qec',
      'tty; stty size',
      '/dev/null',
    );
    assert.match((await finished(child)).stdout, /\/dev\/pts\/\d+/);
  });

  it('names follow the Services while a pod runs', async () => {
    const names = async (): Promise<string> => (await exec('client', 'cat', '/etc/hosts')).stdout;
    assert.match(await names(), /^198\.\S+ near\.m\.svc\.cluster\.local near\.m\.svc near\.m near$/m);
    mesh.write('late.yaml', serviceManifest('late', 'server', { 80: 8080 }));
    await eventually('the new name', async () => (await names()).includes(' late.m '));
    await eventually(
      'calls by the new name',
      async () => (await exec('client', 'curl', '-sS', '--data', 'x', 'http://late/')).stdout === 'x',
    );
    mesh.write('late.yaml', serviceManifest('late', 'server', { 8080: 8080 }, 'clusterIP: None'));
    const { ip } = await mesh.pod('server');
    await eventually('the headless address', async () => (await names()).includes(`${ip} late.m.`));
    assert.equal((await exec('client', 'curl', '-sS', '--data', 'y', 'http://late:8080/')).stdout, 'y');
    mesh.remove('late.yaml');
    await eventually('the name to go', async () => !(await names()).includes(' late.m '));
  });

  it('pods are added, changed and removed by editing manifests, the others left alone', async () => {
    const client = await mesh.pod('client');
    mesh.write(
      'extra.yaml',
      podManifest('extra', { node: 'node-c', commands: { main: 'echo one; sleep 1000' } }),
    );
    const first = await eventually('the new pod on a new node', async () => {
      const pod = await mesh.pod('extra');
      return pod.ready && (await mesh.status()).enrolled[pod.uid]?.verified === true ? pod : undefined;
    });
    await eventually(
      'its calls',
      async () => (await exec('extra', 'curl', '-sS', '--data', 'x', 'http://server/')).stdout === 'x',
    );
    mesh.write(
      'extra.yaml',
      podManifest('extra', { node: 'node-c', commands: { main: 'echo two; sleep 1000' } }),
    );
    const second = await eventually('the pod anew', async () => {
      const pod = await mesh.pod('extra');
      return pod.uid !== first.uid && pod.ready ? pod : undefined;
    });
    assert.notEqual(second.ip, first.ip);
    mesh.remove('extra.yaml');
    await eventually('the pod to go', async () =>
      (await mesh.status()).report.pods.every((pod) => pod.name !== 'extra'),
    );
    const same = await mesh.pod('client');
    assert.deepEqual([same.uid, same.initPid], [client.uid, client.initPid], 'another pod was not touched');
  });

  it('a label takes a running pod out of the mesh and back, without a restart', async () => {
    const before = await mesh.pod('server');
    const verified = async (): Promise<boolean> =>
      (await mesh.status()).enrolled[before.uid]?.verified === true;
    mesh.write(
      'server.yaml',
      serverManifest('server', 'node-b').replace(
        '    app: server',
        '    app: server\n    loam.dev/dataplane-mode: none',
      ),
    );
    await eventually('it to leave', async () => !(await verified()));
    await eventually(
      'calls by its address',
      async () =>
        (await exec('outsider', 'curl', '-sS', '--data', 'x', `http://${before.ip}:8080/`)).stdout === 'x',
    );
    await eventually(
      'calls from the mesh',
      async () => (await exec('client', 'curl', '-sS', '--data', 'x', 'http://server/')).stdout === 'x',
    );
    mesh.write('server.yaml', serverManifest('server', 'node-b'));
    await eventually('it to come back', verified);
    await eventually(
      'calls again',
      async () => (await exec('client', 'curl', '-sS', '--data', 'x', 'http://server/')).stdout === 'x',
    );
    const after = await mesh.pod('server');
    assert.deepEqual([after.uid, after.initPid], [before.uid, before.initPid]);
    assert.deepEqual(
      after.containers.map((each) => each.state === 'running' && each.restarts),
      [0],
    );
  });

  it('a command that ends is started again, and status says so meanwhile', async () => {
    mesh.write('broken.yaml', podManifest('broken', { commands: { main: 'echo failing; exit 4' } }));
    const shown = await eventually('the failing command', async () => {
      const { code, stdout } = await run('status');
      return code === 3 && stdout.includes('its command main ended (exit code 4)') ? stdout : undefined;
    });
    assert.match(shown, /m\/broken/);
    mesh.remove('broken.yaml');
  });

  it('a pod whose first process is killed comes back, with all of its commands', async () => {
    const before = await mesh.pod('server');
    process.kill(before.initPid ?? 0, 'SIGKILL');
    await eventually('the pod anew', async () => {
      const pod = await mesh.pod('server');
      return pod.uid !== before.uid && pod.ready;
    });
    await eventually(
      'calls again',
      async () => (await exec('client', 'curl', '-sS', '--data', 'x', 'http://server/')).stdout === 'x',
    );
  });

  it('a wrong manifest is shown with file, object, field and what is allowed; the rest goes on', async () => {
    mesh.write(
      'wrong.yaml',
      serviceManifest('wrong', 'server', { 80: 8080 }).replace('targetPort', 'targetPrt'),
    );
    const { stdout } = await eventually('the rejection', async () => {
      const result = await run('status');
      return result.code === 3 && result.stdout.includes('REJECTED') ? result : undefined;
    });
    assert.match(stdout, /Service m\/wrong \(wrong\.yaml\).*targetPrt/);
    assert.equal((await exec('client', 'curl', '-sS', '--data', 'x', 'http://server/')).stdout, 'x');
    mesh.remove('wrong.yaml');
    await eventually('all to be well', async () => (await run('status')).code === 0);
  });

  it('a namespace leaves the mesh by its label and comes back', async () => {
    mesh.write('namespace.yaml', namespaceManifest('none'));
    await eventually('all to leave', async () =>
      Object.values((await mesh.status()).enrolled).every((pod) => !pod.verified),
    );
    mesh.write('namespace.yaml', namespaceManifest());
    await eventually('all to be well', async () => (await run('status')).code === 0);
  });

  it('down removes it, and then there is none', async () => {
    const down = await run('down');
    assert.equal(down.code, 0, down.stderr);
    assert.match(down.stdout, /is gone/);
    assert.match((await run('down')).stdout, /There is no mesh/);
    assert.match((await run('status')).stderr, /there is no mesh .*loam local up DIR/);
    assert.ok(!readFileSync('/proc/self/mounts', 'utf8').includes(`loam-${mesh.name}-`));
  });

  it('up says loudly what was never right and so is not in force, and what is passed over; status warns too', async () => {
    const other = Mesh.prepare({
      'namespace.yaml': namespaceManifest(),
      'policy.yaml':
        'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: m}\nspec: {action: DENI}\n',
      'apps.yaml': 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: m}\n',
    });
    try {
      const up = await finished(loam('local', 'up', other.dir, '--name', other.name));
      assert.equal(up.code, 3, up.stdout + up.stderr);
      assert.match(up.stdout, /is ready: 0 nodes, 0 pods.*\n.*nothing runs yet/);
      assert.match(up.stdout, /warning: Deployment m\/d \(apps\.yaml:1\)/);
      assert.match(
        up.stderr,
        /NOT IN FORCE: AuthorizationPolicy m\/p \(policy\.yaml:4\): spec\.action: "DENI"/,
      );
      const status = await finished(loam('local', 'status', '--name', other.name));
      assert.equal(status.code, 3);
      assert.match(status.stdout, /in force in its place, until it is right, is one that denies everything/);
      assert.match(status.stdout, /WARNINGS\n {2}Deployment m\/d/);
    } finally {
      await other.down();
    }
  });

  it('refuses unusable input in a line, with exit code 2', async () => {
    const bad = await finished(loam('local', 'up', mesh.dir, '--name', 'a-b'));
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /allowed: 1 to 12 lower-case letters and digits/);
    assert.equal((await finished(loam('local', 'up', '/no/such/dir'))).code, 2);
    const bare = await finished(loam('local', 'exec', 'shop/frontend', 'curl', '-sS', 'http://auth/'));
    assert.match(bare.stderr, /put -- before the command/);
  });
});
