import type { ObservedConnection } from '../../lib/linux/bpf/index.ts';
import type { MapFill } from '../redirection-port.ts';

/** What the agent needs of the kernel part of observe mode (lib/linux/bpf/observer.ts), narrow, for tests without a kernel. */
export interface ObservePort {
  readonly inForce: boolean;
  observe(cookie: bigint): boolean;
  forget(cookie: bigint): boolean;
  observed(): readonly bigint[];
  read(): readonly ObservedConnection[];
  refused(): ReadonlyMap<bigint, number>;
  fill(): Readonly<Record<string, MapFill>>;
  repair(): readonly string[];
  /** Takes everything of it out of the kernel. */
  end(): void;
}
