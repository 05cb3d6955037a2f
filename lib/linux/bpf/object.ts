/** Loading a prebuilt BPF object, with maps of the caller's where it has them, and errors that say what was refused. */
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../package-root.ts';
import { addressOf } from '../libc.ts';
import { ConstantsMap } from './constants-map.ts';
import { BpfError } from './errors.ts';
import { buffer } from './layout.ts';
import { errnoName, lastErrno, libbpf, type Handle } from './libbpf.ts';

const LOG_BYTES = 256 * 1024;
const LOG_TAIL_LINES = 12;

/** A prebuilt object in memory. */
export interface ObjectFile {
  /** Its file's name, for example `redirect.bpf.o`. */
  readonly name: string;
  readonly bytes: Buffer;
}

/** Where the objects of this version are. */
export function objectsFolder(): string {
  return join(packageRoot(), 'bpf');
}

/** Reads an object of a folder. @throws BpfError BPF_OBJECT when it is not there */
export function readObject(name: string, folder = objectsFolder()): ObjectFile {
  const path = join(folder, name);
  try {
    // Over memory of its own, as buffer() makes it.
    const bytes = readFileSync(path);
    const own = buffer(bytes.length);
    own.set(bytes);
    return { name, bytes: own };
  } catch (cause) {
    throw new BpfError('BPF_OBJECT', `${path} is missing; build it with bpf/build.sh`, { cause });
  }
}

/** What to load. */
export interface LoadOptions {
  readonly object: ObjectFile;
  /** Maps to use in place of new ones: name to descriptor. */
  readonly maps?: ReadonlyMap<string, number>;
  /** The program's constants (.rodata), or the map that they will be in (see {@link ConstantsMap}). */
  readonly constants?: Buffer | ConstantsMap;
}

/** A loaded object. Its descriptors live until it is disposed; links and pins keep what they need beyond. */
export interface LoadedObject extends Disposable {
  /** Descriptors of the programs by name. */
  readonly programs: ReadonlyMap<string, number>;
  /** Descriptors of the maps that programs share (not the constants) by name. */
  readonly maps: ReadonlyMap<string, number>;
}

/**
 * Loads an object into the kernel.
 *
 * @throws BpfError BPF_OBJECT when it is none or does not fit; BPF_VERIFIER when the kernel refuses a program
 */
export function loadObject(options: LoadOptions): LoadedObject {
  const lib = libbpf();
  const { name, bytes } = options.object;
  const object = lib.objectOpen(bytes, bytes.length, null);
  if (object === null) {
    const errno = lastErrno();
    throw new BpfError('BPF_OBJECT', `${name} cannot be opened: ${errnoName(errno)}`, { errno });
  }
  // libbpf keeps the buffers' addresses until the object is loaded, so they are held here.
  const logs = new Map<string, Buffer>();
  try {
    // By the names that the object has: libbpf gives a map that is shared the name that it has in the kernel.
    const named = mapsOf(object).map((map) => [lib.mapName(map), map] as const);
    prepareMaps(object, options);
    for (const program of programsOf(object)) {
      const log = buffer(LOG_BYTES);
      logs.set(lib.programName(program), log);
      lib.programSetLogBuffer(program, addressOf(log), LOG_BYTES);
    }
    if (lib.objectLoad(object) !== 0) throw refusal(name, lastErrno(), logs);
    const programs = new Map(programsOf(object).map((p) => [lib.programName(p), lib.programFd(p)]));
    const shared = named.filter(([, map]) => !lib.mapIsInternal(map));
    const maps = new Map(shared.map(([name, map]) => [name, lib.mapFd(map)]));
    return { programs, maps, [Symbol.dispose]: () => lib.objectClose(object) };
  } catch (error) {
    lib.objectClose(object);
    throw error;
  }
}

/** The descriptor of a program. @throws BpfError BPF_OBJECT when the object has none of this name */
export function programOf(loaded: LoadedObject, object: ObjectFile, name: string): number {
  const program = loaded.programs.get(name);
  if (program === undefined) throw new BpfError('BPF_OBJECT', `${object.name} has no ${name}`);
  return program;
}

function prepareMaps(object: Handle, options: LoadOptions): void {
  const lib = libbpf();
  for (const map of mapsOf(object)) {
    const name = lib.mapName(map);
    if (lib.mapIsInternal(map)) {
      const { constants } = options;
      if (constants instanceof ConstantsMap) constants.give(map, options.object.name);
      else if (constants && lib.mapSetInitialValue(map, constants, constants.length) !== 0) {
        throw new BpfError(
          'BPF_OBJECT',
          `${options.object.name}: constants of ${constants.length} bytes do not fit`,
        );
      }
      continue;
    }
    const fd = options.maps?.get(name);
    if (fd !== undefined && lib.mapReuseFd(map, fd) !== 0) {
      const errno = lastErrno();
      throw new BpfError('BPF_OBJECT', `map ${name} cannot be shared: ${errnoName(errno)}`, { errno });
    }
  }
}

function mapsOf(object: Handle): Handle[] {
  const found: Handle[] = [];
  let map: Handle | null = null;
  while ((map = libbpf().nextMap(object, map)) !== null) found.push(map);
  return found;
}

function programsOf(object: Handle): Handle[] {
  const found: Handle[] = [];
  let program: Handle | null = null;
  while ((program = libbpf().nextProgram(object, program)) !== null) found.push(program);
  return found;
}

/** libbpf stops at the first program that is refused, so the last one with a log is it. */
function refusal(file: string, errno: number, logs: ReadonlyMap<string, Buffer>): BpfError {
  const written = [...logs]
    .map(([name, log]) => ({ name, text: log.toString('latin1', 0, log.indexOf(0)).trim() }))
    .filter(({ text }) => text !== '');
  const last = written.at(-1);
  if (last === undefined) {
    const text = `${file} was not loaded by kernel ${release()}: ${errnoName(errno)} (as root? memory limit?)`;
    return new BpfError('BPF_VERIFIER', text, { errno });
  }
  const tail = last.text.split('\n').slice(-LOG_TAIL_LINES).join('\n');
  const text = `kernel ${release()} refused program ${last.name} of ${file} with ${errnoName(errno)}:\n${tail}`;
  return new BpfError('BPF_VERIFIER', text, { errno });
}
