import type http2 from 'node:http2';
import type { Headers } from '../../lib/mesh/waypoint/request.ts';

/** Sends trailers, none too, when HTTP/2 asks for them; a stream that ended meanwhile gets none. */
export function answerWantTrailers(stream: http2.Http2Stream, trailers: Headers | undefined): void {
  if (stream.destroyed || stream.closed) return;
  stream.sendTrailers(trailers ?? {});
}
