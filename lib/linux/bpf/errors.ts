/** What can go wrong with BPF, by codes that operators can search for. */
import { LoamError } from '../../loam-error.ts';

export type BpfErrorCode =
  /** libbpf is not installed, or too old. */
  | 'BPF_LIBRARY'
  /** The kernel lets this process load no programs: a capability is missing. */
  | 'BPF_CAPABILITY'
  /** The kernel lacks something that the programs need. */
  | 'BPF_KERNEL'
  /** An object file is missing or is not what this version of Loam expects. */
  | 'BPF_OBJECT'
  /** The kernel refused a program; the message ends with the verifier's last lines. */
  | 'BPF_VERIFIER'
  /** A map operation failed. */
  | 'BPF_MAP'
  /** A program could not be attached, or is not attached although it should be. */
  | 'BPF_ATTACH'
  /** The BPF file system or a pin in it. */
  | 'BPF_PIN'
  /** Another live process holds this instance. */
  | 'BPF_INSTANCE_IN_USE'
  /** Pins of another layout are in force under this instance's name. */
  | 'BPF_LAYOUT'
  /** No cgroup v2 hierarchy is mounted where it could be found. */
  | 'BPF_NO_CGROUP2'
  /** Somebody else's sk_lookup program is attached to the pod. */
  | 'BPF_POD_TAKEN'
  /** The private sources of a pod cannot be routed inside it. */
  | 'BPF_ROUTE'
  /** An argument is not what it must be. */
  | 'BPF_ARGUMENT';

/** Any failure of lib/linux/bpf. `errno` is the kernel's number, 0 where there is none. */
export class BpfError extends LoamError<BpfErrorCode> {
  readonly errno: number;

  constructor(code: BpfErrorCode, message: string, options?: { errno?: number; cause?: unknown }) {
    super(code, message, options);
    this.errno = options?.errno ?? 0;
  }
}
