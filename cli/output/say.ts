import { printableText } from './printable.ts';

/** Tells a person something, in lines. What manifests, peers and clusters have in it steers no terminal. */
export function say(text: string): void {
  console.log(printableText(text));
}

/** The same, on the error output. */
export function complain(text: string): void {
  console.error(printableText(text));
}
