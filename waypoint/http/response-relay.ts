import type { Readable } from 'node:stream';
import type { Exchange, UpstreamResponse } from './exchange.ts';
import { isHttp2Stream, onceEnded } from '../../lib/mesh/hbone/stream-reset.ts';

/** How the body of a response ended. */
export type RelayEnd = 'complete' | 'upstream-broke' | 'client-gone';

/**
 * Hands the body of a response on, no faster than the client takes it. The head must have been sent. A body that breaks
 * off breaks off for the client too: it must never look complete.
 *
 * @param onChunk for counting
 */
export function relayBody(
  response: UpstreamResponse,
  exchange: Exchange,
  onChunk: (chunk: Buffer) => void,
): Promise<RelayEnd> {
  const { body } = response;
  if (body === undefined) {
    exchange.endWithTrailers(response.trailers());
    return Promise.resolve('complete');
  }
  return new Promise((resolve) => {
    const { out } = exchange;
    let settled = false;
    const settle = (end: RelayEnd): void => {
      if (settled) return;
      settled = true;
      out.off('drain', onDrain);
      resolve(end);
    };
    const onDrain = (): void => void body.resume();
    body.on('data', (chunk: Buffer) => {
      onChunk(chunk);
      if (out.destroyed || out.writableEnded) return;
      if (!out.write(chunk)) body.pause();
    });
    out.on('drain', onDrain);
    const onEnd = (early: boolean): void => {
      if (early) broke();
      // HTTP/2 says `end` also just before it says that the stream was reset.
      else if (isHttp2Stream(body as never)) setImmediate(() => finish(body));
      else finish(body);
    };
    onceEnded(body, onEnd);
    const finish = (from: Readable): void => {
      if (settled) return;
      if (isBroken(from) || response.isCut?.() === true) {
        exchange.reset();
        settle('upstream-broke');
        return;
      }
      exchange.endWithTrailers(response.trailers());
      settle('complete');
    };
    const broke = (): void => {
      if (settled) return;
      exchange.reset();
      settle('upstream-broke');
    };
    body.on('error', broke);
    body.once('aborted', broke);
    body.once('close', () => {
      if (!body.readableEnded) broke();
    });
    exchange.onAbort(() => settle('client-gone'));
    if (exchange.aborted) settle('client-gone');
    // An HTTP/2 stream without a byte says `end` by itself, maybe before anybody listens.
    else if (body.readableEnded) setImmediate(() => (body.errored === null ? finish(body) : broke()));
    // It broke off before anybody looked: no event would tell.
    else if (body.destroyed) broke();
    else body.resume();
  });
}

function isBroken(body: Readable): boolean {
  const rstCode = (body as Readable & { rstCode?: number }).rstCode;
  if (rstCode !== undefined && rstCode !== 0) return true;
  return (body as Readable & { complete?: boolean }).complete === false;
}
