/**
 * The guards of an instance's pods: what stands on the host side of each pod's veths, read from the kernel and kept
 * right. A pod's addresses are in a map, so that they can be read back; its netns cookie is in the program's constants.
 */
import { closeFd } from '../libc.ts';
import { interfacesOf, netnsIdOf, type Interface } from '../interfaces.ts';
import { inNetns, openCurrentNetns } from '../netns.ts';
import { ensureClsact, putFilter } from './clsact.ts';
import type { GuardDrops } from './guard-layout.ts';
import type { InstanceMaps } from './instance-maps.ts';
import { cookieKey } from './layout.ts';
import { linkInfo, replaceProgram } from './link.ts';
import {
  endGuard,
  guardPins,
  isFilterOf,
  MADE,
  METHODS,
  pinName,
  replaceFilter,
  type GuardMethod,
  type GuardPin,
} from './guard-pins.ts';
import type { PinFolder, PinKind } from './pins.ts';
import type { PodPrograms } from './pod-programs.ts';
import type { Problem } from './redirection.ts';
import { attachTcx, hasTcx, isFirstAtTcx } from './tcx.ts';

/** Kinds that are an end of their own for packets, whatever namespace they name. */
const HARDWARE = '';
const LOOPBACK_INDEX = 1;
/** What is named as unguarded of a pod of which no way out is known: it may have given its interface away before. */
const NONE_FOUND = 'no interface found';

/** What stands guard over a pod. */
export interface GuardState {
  /** The pod's interfaces whose host side is guarded, and how. */
  readonly guarded: readonly { readonly name: string; readonly index: number; readonly by: GuardMethod }[];
  /** Interfaces that lead out of the pod otherwise than by a veth that ends on this node: nothing can be attached there. */
  readonly unguarded: readonly string[];
  /** Interfaces where it was attached just now: they are new, or somebody had taken it away. */
  readonly attached: readonly string[];
}

/** Whom to guard. */
export interface GuardRequest {
  readonly netnsFd: number;
  readonly cookie: bigint;
  /** The addresses that it may send from. */
  readonly ips: readonly string[];
}

/** See the top of the file. */
export class GuardStore {
  readonly #pins: PinFolder;
  readonly #maps: InstanceMaps;
  readonly #programs: PodPrograms;
  readonly #host: number;
  readonly #method: GuardMethod;

  /**
   * @param hostNetnsFd where the other ends of the pods' veths are, by default where this thread is; stays the caller's
   * @param method by default what the kernel has
   */
  constructor(
    pins: PinFolder,
    maps: InstanceMaps,
    programs: PodPrograms,
    options: { readonly hostNetnsFd?: number; readonly method?: GuardMethod },
  ) {
    this.#pins = pins;
    this.#maps = maps;
    this.#programs = programs;
    this.#host = inNetnsOf(options.hostNetnsFd, openCurrentNetns);
    this.#method = options.method ?? (hasTcx() ? 'tcx' : 'clsact');
  }

  /**
   * Attaches the guard wherever it is missing and brings the pod's addresses up to date; what is in order is left alone.
   *
   * @throws BpfError BPF_ATTACH, BPF_VERIFIER and others; nothing that stood was taken away then
   */
  ensure(pod: GuardRequest): GuardState {
    const entry = this.#maps.layout.encodeGuard(pod.ips);
    const guards = this.#maps.map('guards');
    if (guards.get(cookieKey(pod.cookie))?.equals(entry) !== true) guards.set(cookieKey(pod.cookie), entry);
    this.#maps.map('guard_drops').addZero(cookieKey(pod.cookie));
    const { veths, unguarded } = this.#waysOut(pod.netnsFd);
    const missing = veths.filter(({ index }) => !this.#stands(this.#method, pod.cookie, index));
    if (missing.length > 0) {
      this.#programs.lend('guard', cookieKey(pod.cookie), (program) => {
        for (const { index } of missing) this.#attach(program, pod.cookie, index);
      });
    }
    const kept = this.#dropOthers(pod.cookie, new Set(veths.map(({ index }) => index)));
    const guarded = [...veths.map(({ name, index }) => ({ name, index, by: this.#method })), ...kept];
    return {
      guarded,
      unguarded: guarded.length + unguarded.length === 0 ? [NONE_FOUND] : unguarded,
      attached: missing.map(({ name }) => name),
    };
  }

  /** Takes a pod's guard away, and leaves nothing of it. */
  remove(cookie: bigint): void {
    for (const method of METHODS) {
      for (const pin of this.#pinned(method).filter((each) => each.cookie === cookie)) this.#end(method, pin);
    }
    this.#maps.map('guards').delete(cookieKey(cookie));
    this.#maps.map('guard_drops').delete(cookieKey(cookie));
  }

  /**
   * Brings what an earlier process left to this version: programs replaced without a gap, what belongs to nobody removed.
   *
   * @param enrolled cookies of the pods that are in force
   */
  adopt(enrolled: ReadonlySet<bigint>): void {
    for (const cookie of this.#cookies()) {
      if (!enrolled.has(cookie)) {
        this.remove(cookie);
        continue;
      }
      const pins = METHODS.flatMap((method) =>
        this.#pinned(method)
          .filter((pin) => pin.cookie === cookie)
          .map((pin) => ({ method, pin })),
      );
      if (pins.length === 0) continue;
      this.#programs.lend('guard', cookieKey(cookie), (program) => {
        for (const { method, pin } of pins) this.#replace(method, pin, program);
      });
    }
  }

  /** Packets that were dropped of a pod; undefined when it is not guarded. */
  drops(cookie: bigint): GuardDrops | undefined {
    const value = this.#maps.map('guard_drops').get(cookieKey(cookie));
    return value && this.#maps.layout.decodeGuardDrops(value);
  }

  /** What is not as it must be, of the guards that were attached. */
  problems(): Problem[] {
    return METHODS.flatMap((method) =>
      this.#pinned(method).flatMap(({ cookie, index }) => {
        const subject = `pod ${cookie}`;
        if (!this.#stands(method, cookie, index)) {
          return [{ subject, problem: `its guard at interface ${index} is detached` }];
        }
        const first = method === 'clsact' || this.#isFirst(cookie, index);
        return first
          ? []
          : [{ subject, problem: `another program at interface ${index} comes before its guard` }];
      }),
    );
  }

  /** Namespaces that something is pinned or written down for. */
  strayCookies(enrolled: ReadonlySet<bigint>): bigint[] {
    return this.#cookies().filter((cookie) => !enrolled.has(cookie));
  }

  /** Ends this object; the guards stay. */
  close(): void {
    closeFd(this.#host);
  }

  /** Where a pod's packets leave it. */
  #waysOut(netnsFd: number): { veths: { name: string; index: number }[]; unguarded: string[] } {
    const hostId = netnsIdOf(netnsFd, this.#host);
    const all = interfacesOf(netnsFd);
    const toHost = (each: Interface): boolean => hostId !== undefined && each.peerNetnsId === hostId;
    const veths = all.flatMap((each) =>
      each.kind === 'veth' && each.peer !== undefined && toHost(each)
        ? [{ name: each.name, index: each.peer }]
        : [],
    );
    const others = all.filter(
      (each) =>
        each.index !== LOOPBACK_INDEX && each.kind !== 'veth' && (each.kind === HARDWARE || toHost(each)),
    );
    // Its veths end elsewhere, where we cannot look.
    const elsewhere = veths.length === 0 ? all.filter((each) => each.kind === 'veth') : [];
    return { veths, unguarded: [...others, ...elsewhere].map(({ name }) => name) };
  }

  #stands(method: GuardMethod, cookie: bigint, index: number): boolean {
    if (method === 'clsact') {
      const pin = { name: pinName(cookie, index), cookie, index };
      return inNetns(this.#host, () => isFilterOf(this.#pins, pin));
    }
    const fd = this.#pins.get('guards', pinName(cookie, index));
    if (fd === undefined) return false;
    try {
      const link = linkInfo(fd);
      return link.kind === 'tcx' && link.interfaceIndex === index;
    } finally {
      closeFd(fd);
    }
  }

  #isFirst(cookie: bigint, index: number): boolean {
    const fd = this.#pins.get('guards', pinName(cookie, index));
    if (fd === undefined) return false;
    try {
      const { program } = linkInfo(fd);
      return inNetns(this.#host, () => isFirstAtTcx(program, index));
    } finally {
      closeFd(fd);
    }
  }

  #attach(program: number, cookie: bigint, index: number): void {
    const name = pinName(cookie, index);
    if (this.#method === 'clsact') {
      inNetns(this.#host, () => {
        const made = ensureClsact(index);
        // Known as ours before it stands.
        this.#put('filters', name, program);
        if (made) this.#put('filters', `${name}${MADE}`, program);
        putFilter(program, index);
      });
      return;
    }
    const link = inNetns(this.#host, () => attachTcx(program, index));
    try {
      this.#put('guards', name, link);
    } finally {
      closeFd(link);
    }
  }

  #replace(method: GuardMethod, pin: GuardPin, program: number): void {
    if (method === 'clsact') {
      const standing = inNetns(this.#host, () => {
        if (!isFilterOf(this.#pins, pin)) return false;
        replaceFilter(this.#pins, pin, program);
        return true;
      });
      if (!standing) this.#end(method, pin);
      return;
    }
    const link = this.#pins.get('guards', pin.name);
    if (link === undefined) return;
    const replaced = replaceProgram(link, program);
    closeFd(link);
    if (!replaced) this.#pins.drop('guards', pin.name);
  }

  /**
   * Ends what stands at interfaces that are gone, and what is attached in the other way. Whose other end the pod has no
   * more stays guarded while it exists: a pod with CAP_NET_ADMIN can move it into a namespace of its own, which is not
   * enrolled, and would be rid of its guard.
   *
   * @returns the interfaces that stay
   */
  #dropOthers(cookie: bigint, indices: ReadonlySet<number>): GuardState['guarded'][number][] {
    return METHODS.flatMap((method) =>
      this.#pinned(method).flatMap((pin) => {
        if (pin.cookie !== cookie || (method === this.#method && indices.has(pin.index))) return [];
        if (!indices.has(pin.index) && this.#stands(method, cookie, pin.index))
          return [{ name: `interface ${pin.index} of the node`, index: pin.index, by: method }];
        this.#end(method, pin);
        return [];
      }),
    );
  }

  #end(method: GuardMethod, pin: GuardPin): void {
    inNetns(this.#host, () => endGuard(this.#pins, method, pin));
  }

  #put(kind: PinKind, name: string, fd: number): void {
    if (this.#pins.list(kind).includes(name)) this.#pins.drop(kind, name);
    this.#pins.put(kind, name, fd);
  }

  #pinned(method: GuardMethod): GuardPin[] {
    return guardPins(this.#pins, method);
  }

  #cookies(): bigint[] {
    const pinned = METHODS.flatMap((method) => this.#pinned(method).map(({ cookie }) => cookie));
    const written = (['guards', 'guard_drops'] as const).flatMap((name) =>
      this.#maps
        .map(name)
        .keys()
        .map((key) => key.readBigUInt64LE(0)),
    );
    return [...new Set([...pinned, ...written])];
  }
}

function inNetnsOf<T>(netnsFd: number | undefined, body: () => T): T {
  return netnsFd === undefined ? body() : inNetns(netnsFd, body);
}
