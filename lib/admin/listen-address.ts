/** An address to listen on. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}
