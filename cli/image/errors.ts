import { LoamError } from '../../lib/loam-error.ts';

export type ImageErrorCode =
  /** A flag that the user gave is not usable. */
  | 'IMAGE_INPUT'
  /** A file that belongs into the image is missing, or is not what it should be. */
  | 'IMAGE_FILE';

/** What goes wrong while an image is made; the message names the file. */
export class ImageError extends LoamError<ImageErrorCode> {}
