/**
 * An instance's folder in the BPF file system: what is pinned there stays in force when its process is gone.
 *
 *     <bpffs>/loam/<instance>/v<shape>/{maps,links,pods,guards,filters,observe}/<name>
 *
 * The shape is that of the folder itself. How a map is laid out is in its name (instance-layout.ts); links, programs and
 * what they are attached to know nothing of it.
 */
import {
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { check, closeFd, errnoName as libcErrno, O_CLOEXEC, O_RDONLY, sys } from '../libc.ts';
import { mounts } from './cgroup.ts';
import { BpfError } from './errors.ts';
import { ENOENT, errnoName, lastErrno, libbpf } from './libbpf.ts';

export const DEFAULT_BPFFS = '/sys/fs/bpf';
/** Source of a mount that we made: only such a one do we take away again. */
const MOUNT_SOURCE = 'loam';
const O_DIRECTORY_X86_ARM = { x64: 0o200000, arm64: 0o40000 } as const;
const WRITABLE_BY_OTHERS = 0o022;
const LOCK_EX = 2;
const LOCK_NB = 4;
const INSTANCE = /^[a-z0-9-]{1,32}$/;
const SHAPE_DIR = /^v[0-9]+$/;

/** Checks an instance's name. @throws BpfError BPF_ARGUMENT */
export function checkInstance(instance: string): void {
  if (!INSTANCE.test(instance)) {
    throw new BpfError('BPF_ARGUMENT', `instance ${JSON.stringify(instance)}; allowed: ${INSTANCE.source}`);
  }
}

/** Mounts the BPF file system where it is missing. */
export function ensureBpffs(bpffs: string): void {
  if (isBpffs(bpffs)) return;
  mkdirSync(bpffs, { recursive: true });
  if (sys.mount(MOUNT_SOURCE, bpffs, 'bpf', 0, null) !== 0 && !isBpffs(bpffs)) {
    throw new BpfError('BPF_PIN', `the BPF file system cannot be mounted at ${bpffs}: ${libcErrno()}`);
  }
}

function isBpffs(path: string): boolean {
  return mounts().some((mount) => mount.path === path && mount.type === 'bpf');
}

/** A new descriptor, the caller's, of what is pinned at a path; undefined where nothing is. @throws BpfError BPF_PIN */
export function openPinned(path: string): number | undefined {
  const fd = libbpf().openPin(path);
  if (fd >= 0) return fd;
  const errno = lastErrno();
  if (errno === ENOENT) return undefined;
  throw new BpfError('BPF_PIN', `${path} cannot be opened: ${errnoName(errno)}`, { errno });
}

/** @throws BpfError BPF_PIN where the BPF file system is not mounted */
function requireBpffs(bpffs: string): void {
  if (isBpffs(bpffs)) return;
  throw new BpfError(
    'BPF_PIN',
    `${bpffs} is no BPF file system; mount it on the node (mount -t bpf bpf ${bpffs}), as systemd does by itself`,
  );
}

/** The pins of one instance, with the lock that keeps a second process away. */
export class PinFolder {
  readonly #bpffs: string;
  readonly #root: string;
  #lock: number;

  private constructor(bpffs: string, root: string, lock: number) {
    this.#bpffs = bpffs;
    this.#root = root;
    this.#lock = lock;
  }

  /**
   * Opens (and makes) the folder and takes its lock, which ends with the process however that ends.
   *
   * @param mounted what is pinned in a file system that this process mounts for itself, in a container, ends with it
   * @throws BpfError BPF_INSTANCE_IN_USE; BPF_PIN
   */
  static open(instance: string, bpffs: string, mounted: 'required' | 'by us' = 'by us'): PinFolder {
    checkInstance(instance);
    if (mounted === 'required') requireBpffs(bpffs);
    else ensureBpffs(bpffs);
    const root = join(bpffs, 'loam', instance);
    return new PinFolder(bpffs, root, takeLock(root));
  }

  /** Is there anything of this instance? Without making or locking anything. */
  static exists(instance: string, bpffs: string): boolean {
    checkInstance(instance);
    return existsSync(join(bpffs, 'loam', instance));
  }

  /**
   * Makes sure that the folder at the path is the one that was locked; one that was removed is made again.
   *
   * @throws BpfError BPF_PIN when the folder lives on elsewhere, as after `umount -l`: what is pinned there is still
   *   attached, unseen, and attaching everything once more would run each program twice; BPF_INSTANCE_IN_USE
   */
  ensureInPlace(): void {
    if (isFolder(this.#root, this.#lock)) return;
    if (fstatSync(this.#lock).nlink > 0) {
      throw new BpfError(
        'BPF_PIN',
        `${this.#root} is not the folder that this process locked: its file system was unmounted, or the folder ` +
          'moved. What is in force ends with this process; restart it',
      );
    }
    const lock = takeLock(this.#root);
    closeFd(this.#lock);
    this.#lock = lock;
  }

  /** Shapes of which there are pins. */
  shapes(): string[] {
    return readdirSync(this.#root).filter((name) => SHAPE_DIR.test(name));
  }

  /** Makes the folders of this shape. */
  prepare(): void {
    for (const kind of KINDS) mkdirSync(this.#dir(kind), { recursive: true, mode: 0o700 });
  }

  /** Names pinned under a kind. */
  list(kind: PinKind, shape = SHAPE): string[] {
    const dir = this.#dir(kind, shape);
    return existsSync(dir) ? readdirSync(dir) : [];
  }

  /** A new descriptor of what is pinned, or undefined. The caller closes it. */
  get(kind: PinKind, name: string, shape = SHAPE): number | undefined {
    return openPinned(join(this.#dir(kind, shape), name));
  }

  /** Pins a descriptor. */
  put(kind: PinKind, name: string, fd: number): void {
    const path = join(this.#dir(kind), name);
    if (libbpf().pin(fd, path) === 0) return;
    const errno = lastErrno();
    throw new BpfError('BPF_PIN', `cannot pin ${path}: ${errnoName(errno)}`, { errno });
  }

  /** Takes a pin away; what it held ends with its last descriptor. */
  drop(kind: PinKind, name: string, shape = SHAPE): void {
    unlinkSync(join(this.#dir(kind, shape), name));
  }

  /** Gives a pin another name, in place of what has it, in one step. */
  rename(kind: PinKind, name: string, to: string): void {
    renameSync(join(this.#dir(kind), name), join(this.#dir(kind), to));
  }

  /** Removes the whole folder; everything in it must have been detached before. Gives up the lock. */
  removeAll(): void {
    for (const shape of this.shapes()) {
      for (const kind of readdirSync(join(this.#root, shape))) {
        const dir = join(this.#root, shape, kind);
        for (const name of readdirSync(dir)) unlinkSync(join(dir, name));
        rmdirSync(dir);
      }
      rmdirSync(join(this.#root, shape));
    }
    rmdirSync(this.#root);
    this.close();
    removeIfEmpty(join(this.#bpffs, 'loam'));
    const ours = mounts().some((mount) => mount.path === this.#bpffs && mount.source === MOUNT_SOURCE);
    // Not while another has something in it or holds it open: then it is busy, and stays. The kernel itself puts
    // maps.debug and progs.debug there (CONFIG_BPF_PRELOAD).
    const left = readdirSync(this.#bpffs).filter((name) => !name.endsWith('.debug'));
    if (ours && left.length === 0) sys.umount2(this.#bpffs, 0);
  }

  /** Gives up the lock; the pins stay. */
  close(): void {
    closeFd(this.#lock);
  }

  #dir(kind: PinKind, shape = SHAPE): string {
    return join(this.#root, shape, kind);
  }
}

const KINDS = ['maps', 'links', 'pods', 'guards', 'filters', 'observe'] as const;
export type PinKind = (typeof KINDS)[number];
/** Before `v4` all maps had one version together, in the folder's name. */
export const SHAPE = 'v4';

/** Makes the folder of an instance, if need be, and locks it. */
function takeLock(root: string): number {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  for (const folder of [dirname(root), root]) checkOwner(folder);
  const flags = O_RDONLY | O_CLOEXEC | O_DIRECTORY_X86_ARM[process.arch === 'arm64' ? 'arm64' : 'x64'];
  const lock = check(sys.open(root, flags, 0), 'open', root);
  // The lock is on the folder itself, which nothing else locks: no file is left behind.
  if (sys.flock(lock, LOCK_EX | LOCK_NB) !== 0) {
    closeFd(lock);
    throw new BpfError(
      'BPF_INSTANCE_IN_USE',
      `another live process runs BPF instance ${basename(root)} (lock on ${root}); stop it or choose another name`,
    );
  }
  if (isFolder(root, lock)) return lock;
  // The one who held it has just removed the folder: the lock is on what nobody else will ever find.
  closeFd(lock);
  return takeLock(root);
}

/**
 * In the BPF file system everybody may make a folder (its mode is 1777), and whoever owns ours can take pins away or
 * put others in their place.
 *
 * @throws BpfError BPF_PIN
 */
function checkOwner(folder: string): void {
  const found = lstatSync(folder);
  const isOurs = found.isDirectory() && found.uid === process.geteuid?.();
  if (isOurs && (found.mode & WRITABLE_BY_OTHERS) === 0) return;
  const mode = (found.mode & 0o7777).toString(8);
  throw new BpfError(
    'BPF_PIN',
    `${folder} belongs to user ${found.uid} with mode ${mode}${found.isDirectory() ? '' : ', and is no folder'}; ` +
      'allowed: a folder of the user that this process runs as, which nobody else can write to',
  );
}

/** Is the folder at a path the one that a descriptor refers to? */
function isFolder(path: string, fd: number): boolean {
  const there = statSync(path, { bigint: true, throwIfNoEntry: false });
  const held = fstatSync(fd, { bigint: true });
  return there !== undefined && there.dev === held.dev && there.ino === held.ino;
}

function removeIfEmpty(dir: string): void {
  if (existsSync(dir) && readdirSync(dir).length === 0) rmdirSync(dir);
}
