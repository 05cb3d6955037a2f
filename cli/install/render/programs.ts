/** What the containers of all our programs have in common. */
import type { V1Container, V1PodSpec, V1SecurityContext } from '@kubernetes/client-node';
import type { Values } from '../values.ts';
import type { Component } from './manifest.ts';

/** Where the controller serves xDS and certificates. */
export const XDS_PORT = 15012;
/** Of 127.0.0.1 in the pod's own network: who may forward ports to the pod may ask there (docs/decisions/0169). */
export const ADMIN_PORT = 15000;
export const METRICS_PORT = 15020;
export const READY_PORT = 15021;

/** The audience of the tokens that ztunnel and waypoints show the controller. */
export const TOKEN_AUDIENCE = 'loam';
/** The ConfigMap with the root certificate, written by the controller. */
export const ROOT_CONFIG_MAP = 'loam-ca-root-cert';
export const ROOT_FILE = '/var/run/secrets/loam-root/root-cert.pem';
export const TOKEN_FILE = '/var/run/secrets/loam/token';

/** Node's folder of sockets that the agent and ztunnel share. */
export const RUN_FOLDER = '/run/loam';

type ProgramFile = 'controller/main' | 'agent/main' | 'agent/ready-probe' | 'ztunnel/main';

/** How a program of the image is started: no inspector by a signal, and stack traces that name the sources. */
export function commandOf(program: ProgramFile): string[] {
  return ['/usr/local/bin/node', '--disable-sigusr1', '--enable-source-maps', `/app/dist/${program}.js`];
}

/** What prints, in a container of controller or ztunnel, the state of each condition of its readiness, as JSON. */
export function askReadiness(): string[] {
  const ask = `fetch('http://127.0.0.1:${READY_PORT}/healthz/ready').then((r) => r.text()).then(console.log)`;
  return ['/usr/local/bin/node', '-e', ask];
}

/**
 * What prints, in a container of the controller, its status as JSON, without the objects of which there is nothing to say: of a large
 * cluster's that is nearly all.
 */
export function askController(): string[] {
  const ask = `fetch('http://127.0.0.1:${ADMIN_PORT}/v1/status').then((r) => r.json()).then(({ objects, files, gateways }) => {
    console.log(JSON.stringify({
      files: files.filter((f) => f.problems.length > 0),
      objects: objects.filter((o) => o.kind !== 'Pod' && (o.state !== 'accepted' || o.warnings.length > 0)),
      gateways,
    }));
  })`;
  return ['/usr/local/bin/node', '-e', ask];
}

/** `--flag value` for each. */
export function flags(values: Readonly<Record<string, string>>): string[] {
  return Object.entries(values).flatMap(([flag, value]) => [`--${flag}`, value]);
}

/** Name, image and command of a program's container. */
export function container(
  component: Component & ProgramOf,
  values: Values,
): Required<
  Pick<V1Container, 'name' | 'image' | 'imagePullPolicy' | 'command' | 'terminationMessagePolicy'>
> {
  return {
    name: component,
    image: values.image,
    imagePullPolicy: values.imagePullPolicy,
    command: commandOf(`${component}/main`),
    // What it said last is then in the pod's status, where `loam check` finds it.
    terminationMessagePolicy: 'FallbackToLogsOnError',
  };
}
type ProgramOf = 'controller' | 'agent' | 'ztunnel';

export function pullSecrets(values: Values): Pick<V1PodSpec, 'imagePullSecrets'> {
  if (values.imagePullSecrets.length === 0) return {};
  return { imagePullSecrets: values.imagePullSecrets.map((name) => ({ name })) };
}

/** A container that writes nothing into its image, gains nothing, and has only these capabilities. */
export function confined(capabilities: readonly string[]): V1SecurityContext {
  return {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'], ...(capabilities.length === 0 ? {} : { add: [...capabilities] }) },
    seccompProfile: { type: 'RuntimeDefault' },
  };
}

/**
 * Of the node's programs: root, since what they open is root's. The runtimes' AppArmor profile forbids writing below /sys/fs/bpf, and
 * SELinux confines containers away from the node's sockets; both by default, so both are named here.
 */
export function onNode(capabilities: readonly string[]): V1SecurityContext {
  return {
    ...confined(capabilities),
    runAsUser: 0,
    runAsGroup: 0,
    appArmorProfile: { type: 'Unconfined' },
    seLinuxOptions: { type: 'spc_t' },
  };
}
