import { useEffect, useState } from 'preact/hooks';
import { clock, duration } from '../format.ts';
import { live, state, until } from '../state.ts';

const PLAY_INTERVAL_MS = 400;

/** Looks back at the last minutes. */
export function Replay() {
  const [playing, setPlaying] = useState(false);
  const { since, stepMs = 5_000, graph } = state.value ?? {};
  const now = live.value ? (graph?.at ?? Date.now()) : Date.now();
  const begin = since ?? now;
  const at = until.value ?? now;
  useEffect(() => {
    if (!playing) return;
    const timer = setInterval(() => {
      const next = (until.value ?? begin) + stepMs;
      if (next >= Date.now()) {
        until.value = undefined;
        setPlaying(false);
      } else until.value = next;
    }, PLAY_INTERVAL_MS);
    return () => clearInterval(timer);
  }, [playing, begin]);
  const span = now - begin;
  return (
    <div class="replay" role="group" aria-label="Replay of the last minutes">
      <button
        type="button"
        aria-label={playing ? 'Pause' : 'Play from there'}
        disabled={span < stepMs * 2}
        onClick={() => {
          if (!playing && live.value) until.value = begin + stepMs;
          setPlaying(!playing);
        }}
      >
        {playing ? '❚❚' : '▶'}
      </button>
      <input
        type="range"
        aria-label="Moment that is shown"
        aria-valuetext={live.value ? 'now' : clock(at)}
        min={begin}
        max={now}
        step={stepMs}
        value={at}
        disabled={span < stepMs * 2}
        onInput={(event) => {
          const value = Number(event.currentTarget.value);
          until.value = value >= Date.now() - stepMs ? undefined : value;
        }}
      />
      <output>
        {live.value
          ? `now · ${duration(span)} kept`
          : `${clock(at)} · ${duration(Math.max(0, Date.now() - at))} ago`}
      </output>
      <button
        type="button"
        class={live.value ? 'live on' : 'live'}
        aria-pressed={live.value}
        onClick={() => {
          setPlaying(false);
          until.value = undefined;
        }}
      >
        Live
      </button>
    </div>
  );
}
