import { after, before } from 'mocha';
import { Mesh } from './harness.ts';

/**
 * One mesh for several files of tests, which each leave it as they found it: made for the first of them that runs, taken
 * down after the last one.
 */
export class SharedMesh {
  readonly #manifests: Readonly<Record<string, string>>;
  #users = 0;
  #mesh: Promise<Mesh> | undefined;

  /** To be made when a module is loaded. @param manifests text by file name */
  constructor(manifests: Readonly<Record<string, string>>) {
    this.#manifests = manifests;
    // Of a run that leaves some of the files out, the last one never ends.
    after(() => this.#down());
  }

  /** To be called inside a `describe`. @returns what gives the mesh once the tests run */
  use(): () => Mesh {
    this.#users += 1;
    let mesh: Mesh | undefined;
    before(async () => {
      // Where it does not come up, each file fails at once.
      mesh = await (this.#mesh ??= Mesh.up(this.#manifests));
    });
    after(async () => {
      this.#users -= 1;
      if (this.#users === 0) await this.#down();
    });
    return () => {
      if (mesh === undefined) throw new Error('the mesh is there only while tests run');
      return mesh;
    };
  }

  async #down(): Promise<void> {
    const mesh = this.#mesh;
    this.#mesh = undefined;
    await (await mesh?.catch(() => undefined))?.down();
  }
}
