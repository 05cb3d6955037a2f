export type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/** As in the style sheet. */
export const FONT_FAMILY =
  "ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'Liberation Sans', 'DejaVu Sans', sans-serif";

/** The sign of a waypoint. */
export function diamond(context: Context, x: number, y: number, color: string, size = 4.2): void {
  context.fillStyle = color;
  context.beginPath();
  context.moveTo(x, y - size);
  context.lineTo(x + size, y);
  context.lineTo(x, y + size);
  context.lineTo(x - size, y);
  context.fill();
}
