/** The command lines of etcd and of Kubernetes' control plane, all in one network namespace. */
import { join } from 'node:path';
import { ADDRESSES, API_PORT, DNS_ZONE, type ClusterPlan } from './plan.ts';

type Command = [string, ...string[]];

const ETCD = 'http://127.0.0.1:2379';
const ETCD_PEERS = 'http://127.0.0.1:2380';

export function etcdCommand(plan: ClusterPlan, programs: string): Command {
  return [
    join(programs, 'etcd'),
    ...['--data-dir', join(plan.dir, 'etcd'), '--log-level', 'warn'],
    // The data need not outlive the machine.
    '--unsafe-no-fsync',
    ...['--listen-client-urls', ETCD, '--advertise-client-urls', ETCD],
    ...['--listen-peer-urls', ETCD_PEERS, '--initial-advertise-peer-urls', ETCD_PEERS],
    ...['--initial-cluster', `default=${ETCD_PEERS}`],
  ];
}

export function apiServerCommand(plan: ClusterPlan, programs: string): Command {
  const pki = (file: string): string => join(plan.pki, file);
  return [
    join(programs, 'kube-apiserver'),
    `--etcd-servers=${ETCD}`,
    `--bind-address=${ADDRESSES.control}`,
    `--advertise-address=${ADDRESSES.control}`,
    `--secure-port=${API_PORT}`,
    `--service-cluster-ip-range=${ADDRESSES.services}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    '--allow-privileged=true',
    `--client-ca-file=${pki('ca.crt')}`,
    `--tls-cert-file=${pki('apiserver.crt')}`,
    `--tls-private-key-file=${pki('apiserver.key')}`,
    `--kubelet-client-certificate=${pki('apiserver-kubelet.crt')}`,
    `--kubelet-client-key=${pki('apiserver-kubelet.key')}`,
    `--kubelet-certificate-authority=${pki('ca.crt')}`,
    '--kubelet-preferred-address-types=InternalIP',
    `--service-account-issuer=https://kubernetes.default.svc.${DNS_ZONE}`,
    `--service-account-key-file=${pki('accounts.pub')}`,
    `--service-account-signing-key-file=${pki('accounts.key')}`,
    `--requestheader-client-ca-file=${pki('front-proxy-ca.crt')}`,
    '--requestheader-allowed-names=front-proxy-client',
    '--requestheader-username-headers=X-Remote-User',
    '--requestheader-group-headers=X-Remote-Group',
    '--requestheader-extra-headers-prefix=X-Remote-Extra-',
    `--proxy-client-cert-file=${pki('front-proxy.crt')}`,
    `--proxy-client-key-file=${pki('front-proxy.key')}`,
    '--enable-aggregator-routing=true',
  ];
}

export function controllerManagerCommand(plan: ClusterPlan, programs: string): Command {
  const pki = (file: string): string => join(plan.pki, file);
  return [
    join(programs, 'kube-controller-manager'),
    ...asClient(plan, 'controller-manager'),
    '--use-service-account-credentials',
    `--root-ca-file=${pki('ca.crt')}`,
    `--service-account-private-key-file=${pki('accounts.key')}`,
    `--cluster-signing-cert-file=${pki('ca.crt')}`,
    `--cluster-signing-key-file=${pki('ca.key')}`,
    '--allocate-node-cidrs',
    `--cluster-cidr=${ADDRESSES.pods}`,
    '--node-cidr-mask-size=24',
    `--service-cluster-ip-range=${ADDRESSES.services}`,
    '--node-monitor-grace-period=20s',
  ];
}

export function schedulerCommand(plan: ClusterPlan, programs: string): Command {
  return [join(programs, 'kube-scheduler'), ...asClient(plan, 'scheduler')];
}

function asClient(plan: ClusterPlan, holder: string): string[] {
  const file = join(plan.dir, `${holder}.kubeconfig`);
  return [
    `--kubeconfig=${file}`,
    `--authentication-kubeconfig=${file}`,
    `--authorization-kubeconfig=${file}`,
    '--bind-address=127.0.0.1',
    '--leader-elect=false',
  ];
}
