import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from './wait-for.ts';

/** A dbus-daemon of the test's own, in a folder of its own, on which anybody may own any name. */
export class PrivateBus {
  readonly address: string;
  private readonly directory: string;
  private readonly daemon: ChildProcess;

  private constructor(directory: string, socket: string, daemon: ChildProcess) {
    this.directory = directory;
    this.address = `unix:path=${socket}`;
    this.daemon = daemon;
  }

  static async start(): Promise<PrivateBus> {
    const directory = mkdtempSync(join(tmpdir(), 'deckhand-test-bus-'));
    const socket = join(directory, 'bus');
    const config = join(directory, 'bus.conf');
    writeFileSync(
      config,
      `<busconfig><type>system</type><listen>unix:path=${socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
</policy></busconfig>`,
    );
    const daemon = spawn('dbus-daemon', [`--config-file=${config}`, '--nofork', '--nopidfile'], { stdio: 'ignore' });
    const bus = new PrivateBus(directory, socket, daemon);
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
    rmSync(this.directory, { recursive: true, force: true });
  }
}
