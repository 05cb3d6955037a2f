/** What commands ask of a mesh, wherever it runs: a local one (local-reader.ts), or another that answers the same. */
import type { Catalog } from '../../lib/flow/catalog.ts';
import type { FlowProducer } from '../observe/feed.ts';
import type { Earlier } from './earlier.ts';

export interface MeshPod {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly uid: string;
  readonly account: string;
  /** The primary first. */
  readonly ips: readonly string[];
  readonly ready: boolean;
  readonly labels: Readonly<Record<string, string>>;
}

export interface MeshServicePort {
  readonly port: number;
  readonly name?: string;
  /** At its pods, where another one than `port` is known. */
  readonly targetPort?: number;
}

export interface MeshService {
  readonly namespace: string;
  readonly name: string;
  readonly ports: readonly MeshServicePort[];
  readonly selector: Readonly<Record<string, string>>;
}

/** One instance of a waypoint. */
export interface MeshWaypoint {
  /** Of its Gateway. */
  readonly namespace: string;
  readonly gateway: string;
  readonly instance: string;
  readonly node: string;
  readonly ips: readonly string[];
}

/** What there is. */
export interface MeshInventory {
  readonly nodes: readonly string[];
  readonly pods: readonly MeshPod[];
  readonly services: readonly MeshService[];
  readonly waypoints: readonly MeshWaypoint[];
}

/** A program that can be asked. */
export type ProgramRef =
  | { readonly program: 'agent' | 'ztunnel'; readonly node: string }
  | { readonly program: 'waypoint'; readonly namespace: string; readonly instance: string }
  | { readonly program: 'controller' };

/** What the maps of the kernel say of a pod. */
export interface KernelPod {
  /** Its connections are redirected, and what arrives is steered. */
  readonly enrolled: boolean;
  /** Netns cookie: its key in every map. */
  readonly cookie?: string;
  /** Of its entry. */
  readonly generation?: string;
  readonly ips?: readonly string[];
  /** Since when `loam off` gave it, or its node, plain networking. */
  readonly off?: string;
  /** Ports of its in-pod listeners. */
  readonly listeners?: Readonly<Record<string, number>>;
  /** Packets that its guard dropped, by reason. */
  readonly dropped?: Readonly<Record<string, number>>;
  /** Connections from before it came into the mesh, which go on in plaintext. */
  readonly earlier?: Earlier;
  /** What the agent says is wrong. */
  readonly problem?: string;
  /** The agent did not answer, or nothing can be read: `enrolled` is what the maps alone say. */
  readonly unread?: string;
  /** Nothing at all could be read, and `enrolled` says nothing. */
  readonly unknown?: true;
}

/** What a Service's name leads to for pods outside of the mesh. */
export type PlainServices =
  /** To its pods' own addresses, at the port that is dialled. */
  | 'pods'
  /** To one of its pods, at the target port: somebody translates addresses (kube-proxy). */
  | 'translated';

export interface MeshReader {
  /** `mesh demo`. */
  readonly name: string;
  readonly plainServices: PlainServices;
  inventory(): Promise<MeshInventory>;
  /** `GET` of a program's admin, as JSON. @throws LoamError when it does not answer */
  get(program: ProgramRef, path: string): Promise<unknown>;
  /** `GET` or `POST`, as text. @throws LoamError when it does not answer, or not with 200 */
  text(program: ProgramRef, path: string, method?: 'GET' | 'POST'): Promise<string>;
  /** What is left out since the user has no right to see it, a line for each right; asked for when all else was. */
  missing(): readonly string[];
  /** @throws MeshError when nobody who knows may be asked, or answers */
  kernel(pod: MeshPod): Promise<KernelPod>;
  /** All that tell flows now. */
  producers(): Promise<readonly FlowProducer[]>;
  /** What the objects say. */
  catalog(): Promise<Catalog>;
}

export function programName(ref: ProgramRef): string {
  switch (ref.program) {
    case 'agent':
    case 'ztunnel':
      return `${ref.program} of ${ref.node}`;
    case 'waypoint':
      return `waypoint ${ref.namespace}/${ref.instance}`;
    case 'controller':
      return 'controller';
  }
}
