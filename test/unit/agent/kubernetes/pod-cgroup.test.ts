import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { podOfCgroup } from '../../../../agent/kubernetes/pod-cgroup.ts';

const UID = '3f2a8c1e-9d4b-4e6f-8a70-1b2c3d4e5f60';
const OTHER = 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee';
const under = UID.replaceAll('-', '_');

describe("a process's pod by its cgroup", () => {
  const cases: [what: string, text: string, uid: string | undefined][] = [
    ['the cgroupfs driver, version 2', `0::/kubepods/burstable/pod${UID}/4be1\n`, UID],
    ['of the highest class', `0::/kubepods/pod${UID}/4be1\n`, UID],
    [
      "systemd's driver",
      `0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${under}.slice/cri-containerd-4be1.scope\n`,
      UID,
    ],
    ['version 1', `12:memory:/kubepods/besteffort/pod${UID}/4be1\n1:cpu:/kubepods/x\n0::/\n`, UID],
    ['a root of its own', `0::/kubelet/kubepods/pod${UID}/4be1\n`, UID],
    ['as seen from a container beside it', `0::/../../pod${UID}/4be1\n`, UID],
    [
      'a static pod',
      '0::/kubepods/pod0123456789abcdef0123456789abcdef/4be1\n',
      '0123456789abcdef0123456789abcdef',
    ],
    ['the node', '0::/system.slice/containerd.service\n', undefined],
    ['a name that only looks like it', `0::/kubepods/podium/pod${UID}x/pod\n`, undefined],
    ['nothing', '', undefined],
    // A privileged container makes groups below its own, and names one as another pod's.
    ['a pod that claims to be another', `0::/kubepods/pod${UID}/4be1/pod${OTHER}/x\n`, UID],
  ];
  for (const [what, text, uid] of cases) it(what, () => assert.equal(podOfCgroup(text), uid));
});
