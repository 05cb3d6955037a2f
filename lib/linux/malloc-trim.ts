import koffi from 'koffi';

const trim = find();

/**
 * Gives memory that the C library keeps after it was freed back to the kernel, in all threads' arenas. V8 frees its own
 * by itself; what TLS, HTTP/2 and sockets had would stay, and count against the process, for as long as it lives.
 */
export function trimMalloc(): void {
  trim?.(0);
}

/** Only glibc has it; others, as musl, keep little. */
function find(): ((pad: number) => number) | undefined {
  try {
    return koffi.load(null).func('int malloc_trim(size_t)') as (pad: number) => number;
  } catch {
    return undefined;
  }
}
