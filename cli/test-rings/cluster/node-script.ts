/** What a node's first process does. A shell is the tool for it: it mounts, starts programs, and waits for their ends. */
import { join } from 'node:path';
import { ADDRESSES, DNS_ZONE, PAUSE_IMAGE, type ClusterPlan, type NodePlan } from './plan.ts';
import { cgroupVersion } from './cgroups.ts';

export interface NodeParts {
  readonly plan: ClusterPlan;
  readonly node: NodePlan;
  /** Folder with the programs of the cluster. */
  readonly programs: string;
  /** Folder of this machine with the CNI plugins. */
  readonly cni: string;
  /** Archives of images, by what marks them as imported: those that the cluster itself needs, then the others. */
  readonly images: { readonly first: readonly string[]; readonly then: readonly string[] };
}

/** Kernel-wide settings that the kubelet wants and would set: it is shown files that hold them already. */
const SHOWN_SYSCTLS = {
  'vm/overcommit_memory': 1,
  'vm/panic_on_oom': 0,
  'kernel/panic': 10,
  'kernel/panic_on_oops': 1,
  'kernel/keys/root_maxkeys': 1_000_000,
  'kernel/keys/root_maxbytes': 25_000_000,
} as const;

const CGROUPS_V1 = `
mount -t tmpfs -o mode=755 cgroups /sys/fs/cgroup
while IFS=: read -r _ controllers _; do
  name=\${controllers#name=}
  case "$controllers" in
  '') mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified ;;
  *) mkdir -p "/sys/fs/cgroup/$name" && mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$name" ;;
  esac
done </proc/self/cgroup`;

const CGROUPS_V2 = `
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/init && echo 0 >/sys/fs/cgroup/init/cgroup.procs
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control; done`;

/**
 * The script, for bash as process 1 in network, mount, PID, UTS, IPC and cgroup namespaces of the node's own. It may be
 * started again and again: containers and images outlive it, as they do a reboot, and what only memory held does not.
 */
export function nodeScript({ plan, node, programs, cni, images }: NodeParts): string {
  const log = (name: string): string => join(plan.logs, `${node.name}-${name}.log`);
  return `#!/bin/bash
set -u
export PATH=${programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
echo ${node.name} >/proc/sys/kernel/hostname
mount --make-rshared /

# What is written below these stays the node's.
for dir in etc opt var; do
  mkdir -p ${node.dir}/overlay/$dir ${node.dir}/work/$dir /$dir
  mount -t overlay -o lowerdir=/$dir,upperdir=${node.dir}/overlay/$dir,workdir=${node.dir}/work/$dir overlay /$dir || exit 1
done
# Images are overlays themselves, which cannot lie on one.
for dir in containerd kubelet; do
  mkdir -p ${node.dir}/$dir /var/lib/$dir && mount --bind ${node.dir}/$dir /var/lib/$dir || exit 1
done
mount -t tmpfs -o mode=755 run /run && mkdir -p /run/lock /run/netns /run/cni /run/loam
mkdir -p /etc/cni/net.d /opt/cni/bin /var/log/pods
for plugin in ${cni}/*; do [ -e "/opt/cni/bin/\${plugin##*/}" ] || ln -s "$plugin" /opt/cni/bin/; done
# No resolver: an image that is not here fails at once instead of being looked for in the world.
rm -f /etc/resolv.conf; : >/etc/resolv.conf

mount -t sysfs sysfs /sys
${cgroupVersion() === 2 ? CGROUPS_V2 : CGROUPS_V1}
mount -t bpf bpf /sys/fs/bpf
${Object.entries(SHOWN_SYSCTLS)
  .map(
    ([path, value]) =>
      `echo ${value} >/run/sysctl-${path.replaceAll('/', '-')} && mount --bind /run/sysctl-${path.replaceAll('/', '-')} /proc/sys/${path}`,
  )
  .join('\n')}
for setting in ip_forward=1 conf/all/rp_filter=0 conf/default/rp_filter=0; do
  echo "\${setting#*=}" >"/proc/sys/net/ipv4/\${setting%%=*}"
done
# The pods of a former life are gone; their wires hang in the air.
for wire in /sys/class/net/veth*; do [ -e "$wire" ] && ip link del "\${wire##*/}"; done

cat >/run/containerd.toml <<'END'
${containerdConfig()}END
cat >/run/kubelet.json <<'END'
${JSON.stringify(kubeletConfig(plan, node))}
END
cat >/run/kube-proxy.json <<'END'
${JSON.stringify(proxyConfig(plan, node))}
END

# Whatever ends is started again, as an init system does.
keep() { log=$1; shift; (while :; do "$@" >>"$log" 2>&1; echo "-- ended with $?" >>"$log"; sleep 0.2; done) & }
import() {
  for image; do
    mark=/var/lib/containerd/imported-\${image##*/}
    [ -e "$mark" ] && continue
    ctr -n k8s.io images import "$image" && : >"$mark"
  done
}
keep ${log('containerd')} containerd -c /run/containerd.toml
until ctr version >/dev/null 2>&1; do sleep 0.1; done
import ${images.first.join(' ')}
keep ${log('kubelet')} kubelet --config=/run/kubelet.json --kubeconfig=${join(plan.dir, `${node.name}.kubeconfig`)} --hostname-override=${node.name} --node-ip=${node.ip} --v=1
keep ${log('kube-proxy')} kube-proxy --config=/run/kube-proxy.json
import ${images.then.join(' ')}
: >/run/node-started
while :; do wait -n || sleep 0.2; done
`;
}

function containerdConfig(): string {
  return `version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '${PAUSE_IMAGE}'
[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  # Where root lacks CAP_SYS_RESOURCE, runc may not make a process less likely to be killed.
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['/opt/cni/bin']
    conf_dir = '/etc/cni/net.d'
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = false
[plugins.'io.containerd.nri.v1.nri']
  disable = false
`;
}

function kubeletConfig(plan: ClusterPlan, node: NodePlan): object {
  const own = join(plan.pki, node.name);
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: node.ip,
    healthzBindAddress: '127.0.0.1',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: join(plan.pki, 'ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    tlsCertFile: `${own}.crt`,
    tlsPrivateKeyFile: `${own}.key`,
    cgroupDriver: 'cgroupfs',
    failCgroupV1: false,
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    clusterDNS: [ADDRESSES.dns],
    clusterDomain: DNS_ZONE,
    resolvConf: '/etc/resolv.conf',
    failSwapOn: false,
    nodeStatusUpdateFrequency: '5s',
    // The machine's disk and memory are not the node's to judge.
    imageGCHighThresholdPercent: 100,
    evictionHard: {
      'memory.available': '0%',
      'nodefs.available': '0%',
      'nodefs.inodesFree': '0%',
      'imagefs.available': '0%',
    },
  };
}

function proxyConfig(plan: ClusterPlan, node: NodePlan): object {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: 'iptables',
    clientConnection: { kubeconfig: join(plan.dir, 'kube-proxy.kubeconfig') },
    clusterCIDR: ADDRESSES.pods,
    // The table of connections is the machine's.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
    healthzBindAddress: '127.0.0.1:10256',
    metricsBindAddress: '127.0.0.1:10249',
    hostnameOverride: node.name,
  };
}
