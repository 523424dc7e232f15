import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { unmountBelow } from '../../../harness/mounts.ts';

/** A mounted filesystem whose server never answers: whoever touches it hangs until `close`. */
export class SilentFuse {
  readonly path: string;
  private readonly device: number;

  private constructor(path: string, device: number) {
    this.path = path;
    this.device = device;
  }

  static async mount(path: string): Promise<SilentFuse> {
    mkdirSync(path, { recursive: true });
    const device = openSync('/dev/fuse', 'r+');
    // The kernel looks up the number among the descriptors of the process that mounts.
    const options = 'fd=3,rootmode=40000,user_id=0,group_id=0,allow_other';
    const child = spawn('/bin/mount', ['-i', '-t', 'fuse', '-o', options, 'silent', path], {
      stdio: ['ignore', 'ignore', 'inherit', device],
    });
    const code = await new Promise((resolve) => child.on('exit', resolve));
    if (code !== 0) {
      closeSync(device);
      throw new Error(`mount of a fuse filesystem at ${path} ended with ${code}`);
    }
    return new SilentFuse(path, device);
  }

  /** Ends it: whoever hangs gets an error. */
  async close(): Promise<void> {
    closeSync(this.device);
    await unmountBelow(this.path);
  }
}
