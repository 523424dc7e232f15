import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from './wait-for.ts';

/** A dbus-daemon of the test's own, on which anybody may own any name. */
export class PrivateBus {
  readonly path: string;
  readonly address: string;
  /** What is removed with it. */
  private readonly directory: string | undefined;
  private readonly daemon: ChildProcess;

  private constructor(directory: string | undefined, socket: string, daemon: ChildProcess) {
    this.directory = directory;
    this.path = socket;
    this.address = `unix:path=${socket}`;
    this.daemon = daemon;
  }

  /** In a folder of its own, or in one of the test's, where it may be started again at the same address. */
  static async start(given?: string): Promise<PrivateBus> {
    const directory = given ?? mkdtempSync(join(tmpdir(), 'deckhand-test-bus-'));
    const socket = join(directory, 'bus');
    const config = join(directory, 'bus.conf');
    rmSync(socket, { force: true });
    writeFileSync(
      config,
      `<busconfig><type>system</type><listen>unix:path=${socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
</policy></busconfig>`,
    );
    const daemon = spawn('dbus-daemon', [`--config-file=${config}`, '--nofork', '--nopidfile'], { stdio: 'ignore' });
    const bus = new PrivateBus(given === undefined ? directory : undefined, socket, daemon);
    try {
      await waitFor('the message bus', () => existsSync(socket));
      return bus;
    } catch (error) {
      await bus.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    if (this.daemon.exitCode === null && this.daemon.signalCode === null) {
      this.daemon.kill('SIGKILL');
      await once(this.daemon, 'exit');
    }
    if (this.directory !== undefined) rmSync(this.directory, { recursive: true, force: true });
  }
}
