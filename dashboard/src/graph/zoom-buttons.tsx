interface Props {
  readonly onZoom: (factor: number) => void;
  readonly onFit: () => void;
}

export function ZoomButtons({ onZoom, onFit }: Props) {
  return (
    <div class="zoom" role="toolbar" aria-label="Zoom">
      <button type="button" aria-label="Zoom in" onClick={() => onZoom(1.25)}>
        +
      </button>
      <button type="button" aria-label="Zoom out" onClick={() => onZoom(0.8)}>
        −
      </button>
      <button type="button" aria-label="Show all" onClick={onFit}>
        ⤢
      </button>
    </div>
  );
}
