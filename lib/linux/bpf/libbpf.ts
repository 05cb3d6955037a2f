/**
 * The functions of libbpf (1.0 or newer) that Loam calls, by koffi. Loaded on first use, so that a program which
 * needs no BPF can import this. Everything is synchronous; objects of libbpf are opaque addresses.
 */
import koffi from 'koffi';
import { BpfError } from './errors.ts';

/** An opaque pointer of libbpf. */
export type Handle = bigint;
type Bytes = Uint8Array;

function load(): Libbpf {
  let library: ReturnType<typeof koffi.load>;
  try {
    library = koffi.load('libbpf.so.1');
  } catch (cause) {
    throw new BpfError(
      'BPF_LIBRARY',
      'libbpf.so.1 cannot be loaded; install libbpf 1.0 or newer (Debian: libbpf1)',
      {
        cause,
      },
    );
  }
  const bind = <T>(declaration: string): T => library.func(declaration) as unknown as T;
  const bound = bindAll(bind);
  // libbpf would write to standard error; what matters of it comes by the log buffers instead.
  bound.setPrint(null);
  return bound;
}

type Bind = <T>(declaration: string) => T;

/** Each returns what the C function returns: negative, or null, on failure, with errno set. */
function bindAll(bind: Bind) {
  return {
    setPrint: bind<(print: null) => unknown>('void *libbpf_set_print(void *fn)'),
    objectOpen: bind<(bytes: Bytes, size: number, opts: null) => Handle | null>(
      'void *bpf_object__open_mem(const void *bytes, size_t size, const void *opts)',
    ),
    objectLoad: bind<(object: Handle) => number>('int bpf_object__load(void *object)'),
    objectClose: bind<(object: Handle) => void>('void bpf_object__close(void *object)'),
    findMap: bind<(object: Handle, name: string) => Handle | null>(
      'void *bpf_object__find_map_by_name(const void *object, const char *name)',
    ),
    findProgram: bind<(object: Handle, name: string) => Handle | null>(
      'void *bpf_object__find_program_by_name(const void *object, const char *name)',
    ),
    nextMap: bind<(object: Handle, previous: Handle | null) => Handle | null>(
      'void *bpf_object__next_map(const void *object, const void *previous)',
    ),
    nextProgram: bind<(object: Handle, previous: Handle | null) => Handle | null>(
      'void *bpf_object__next_program(const void *object, void *previous)',
    ),
    mapName: bind<(map: Handle) => string>('const char *bpf_map__name(const void *map)'),
    mapFd: bind<(map: Handle) => number>('int bpf_map__fd(const void *map)'),
    mapReuseFd: bind<(map: Handle, fd: number) => number>('int bpf_map__reuse_fd(void *map, int fd)'),
    mapSetInitialValue: bind<(map: Handle, data: Bytes, size: number) => number>(
      'int bpf_map__set_initial_value(void *map, const void *data, size_t size)',
    ),
    mapIsInternal: bind<(map: Handle) => boolean>('bool bpf_map__is_internal(const void *map)'),
    programName: bind<(program: Handle) => string>('const char *bpf_program__name(const void *program)'),
    programFd: bind<(program: Handle) => number>('int bpf_program__fd(const void *program)'),
    programSetLogBuffer: bind<(program: Handle, buffer: Handle, size: number) => number>(
      'int bpf_program__set_log_buf(void *program, void *buffer, size_t size)',
    ),
    mapCreate: bind<
      (
        type: number,
        name: string,
        keyBytes: number,
        valueBytes: number,
        entries: number,
        opts: Bytes,
      ) => number
    >(
      'int bpf_map_create(int type, const char *name, uint32_t key_size, uint32_t value_size, uint32_t max_entries, void *opts)',
    ),
    mapFreeze: bind<(fd: number) => number>('int bpf_map_freeze(int fd)'),
    lookup: bind<(fd: number, key: Bytes, value: Bytes) => number>(
      'int bpf_map_lookup_elem(int fd, const void *key, void *value)',
    ),
    update: bind<(fd: number, key: Bytes, value: Bytes, flags: number) => number>(
      'int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags)',
    ),
    remove: bind<(fd: number, key: Bytes) => number>('int bpf_map_delete_elem(int fd, const void *key)'),
    nextKey: bind<(fd: number, key: Bytes | null, next: Bytes) => number>(
      'int bpf_map_get_next_key(int fd, const void *key, void *next)',
    ),
    lookupBatch: bind<
      (
        fd: number,
        from: Bytes | null,
        to: Bytes,
        keys: Bytes,
        values: Bytes,
        count: Bytes,
        opts: null,
      ) => number
    >(
      'int bpf_map_lookup_batch(int fd, void *from, void *to, void *keys, void *values, void *count, const void *opts)',
    ),
    deleteBatch: bind<(fd: number, keys: Bytes, count: Bytes, opts: null) => number>(
      'int bpf_map_delete_batch(int fd, const void *keys, void *count, const void *opts)',
    ),
    pin: bind<(fd: number, path: string) => number>('int bpf_obj_pin(int fd, const char *path)'),
    openPin: bind<(path: string) => number>('int bpf_obj_get(const char *path)'),
    info: bind<(fd: number, info: Bytes, length: Bytes) => number>(
      'int bpf_obj_get_info_by_fd(int fd, void *info, void *length)',
    ),
    linkCreate: bind<(program: number, target: number, attachType: number, opts: null) => number>(
      'int bpf_link_create(int program, int target, int attach_type, const void *opts)',
    ),
    linkUpdate: bind<(link: number, program: number, opts: null) => number>(
      'int bpf_link_update(int link, int program, const void *opts)',
    ),
    linkDetach: bind<(link: number) => number>('int bpf_link_detach(int link)'),
    linkNextId: bind<(start: number, next: Bytes) => number>(
      'int bpf_link_get_next_id(uint32_t start, void *next)',
    ),
    linkById: bind<(id: number) => number>('int bpf_link_get_fd_by_id(uint32_t id)'),
    programById: bind<(id: number) => number>('int bpf_prog_get_fd_by_id(uint32_t id)'),
    query: bind<
      (
        target: number,
        attachType: number,
        flags: number,
        attachFlags: Bytes,
        ids: Bytes,
        count: Bytes,
      ) => number
    >(
      'int bpf_prog_query(int target, int attach_type, uint32_t flags, void *attach_flags, void *ids, void *count)',
    ),
    tcHookCreate: bind<(hook: Bytes) => number>('int bpf_tc_hook_create(void *hook)'),
    tcHookDestroy: bind<(hook: Bytes) => number>('int bpf_tc_hook_destroy(void *hook)'),
    tcAttach: bind<(hook: Bytes, opts: Bytes) => number>('int bpf_tc_attach(const void *hook, void *opts)'),
    tcDetach: bind<(hook: Bytes, opts: Bytes) => number>(
      'int bpf_tc_detach(const void *hook, const void *opts)',
    ),
    tcQuery: bind<(hook: Bytes, opts: Bytes) => number>('int bpf_tc_query(const void *hook, void *opts)'),
    testRun: bind<(program: number, opts: Bytes) => number>(
      'int bpf_prog_test_run_opts(int program, void *opts)',
    ),
    probeProgramType: bind<(type: number, opts: null) => number>(
      'int libbpf_probe_bpf_prog_type(int type, const void *opts)',
    ),
    probeMapType: bind<(type: number, opts: null) => number>(
      'int libbpf_probe_bpf_map_type(int type, const void *opts)',
    ),
    programLoad: bind<
      (type: number, name: string, license: string, code: Bytes, count: number, opts: Bytes) => number
    >(
      'int bpf_prog_load(int type, const char *name, const char *license, const void *code, size_t count, void *opts)',
    ),
    possibleCpus: bind<() => number>('int libbpf_num_possible_cpus(void)'),
  };
}

type Libbpf = ReturnType<typeof bindAll>;
let loaded: Libbpf | undefined;

/**
 * The bindings.
 *
 * @throws BpfError BPF_LIBRARY when libbpf is missing
 */
export function libbpf(): Libbpf {
  return (loaded ??= load());
}

/** The number of the error that the last call of this thread left. */
export function lastErrno(): number {
  return koffi.errno();
}

const NAMES = new Map(Object.entries(koffi.os.errno).map(([name, number]) => [number, name]));

/** The name of an error number, for example `EPERM`. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/** The error numbers that are ordinary outcomes here. */
export const ENOENT = 2;
export const ENOLINK = 67;
