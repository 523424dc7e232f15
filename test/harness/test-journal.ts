import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand } from './run-command.ts';
import { waitFor } from './wait-for.ts';

const DAEMON = '/usr/lib/systemd/systemd-journald';
/** The hierarchy by whose names journald tells units apart. */
const CGROUPS = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((at) => existsSync(`${at}/cgroup.controllers`));

/** Why there can be no journal of the tests' own here; undefined: there can. */
export const noJournal = !existsSync(DAEMON)
  ? `${DAEMON} is not installed`
  : CGROUPS === undefined
    ? 'no cgroup v2 hierarchy is mounted'
    : undefined;

/**
 * A real systemd-journald with a journal of its own, in a mount namespace where its sockets and files are nobody else's.
 * journalctl and whoever writes enter the namespace.
 */
export class TestJournal {
  /** What journalctl is called with. */
  readonly command: readonly string[];
  private readonly directory: string;
  private readonly daemon: ChildProcess;
  private readonly slice = `${CGROUPS}/system.slice`;
  private readonly madeSlice = !existsSync(this.slice);

  private constructor(directory: string, daemon: ChildProcess) {
    this.directory = directory;
    this.daemon = daemon;
    // By its path: a test may have another of that name in front.
    this.command = [...this.enter(), '/usr/bin/journalctl'];
  }

  static async start(): Promise<TestJournal> {
    const directory = mkdtempSync(join(tmpdir(), 'deckhand-test-journal-'));
    // Nothing of the machine's: no kernel log, no audit.
    writeFileSync(join(directory, 'journald.conf'), '[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\n');
    const script = `set -e
for at in /run/systemd /run/log /var/log/journal; do mkdir -p $at; mount -t tmpfs test $at; done
mount --bind '${directory}/journald.conf' /etc/systemd/journald.conf
mkdir -p /run/systemd/journal
exec ${DAEMON}`;
    const argv = ['--mount', '--propagation', 'private', 'sh', '-c', script];
    const daemon = spawn('unshare', argv, { stdio: 'ignore' });
    const journal = new TestJournal(directory, daemon);
    try {
      const socket = () => existsSync(`/proc/${daemon.pid}/root/run/systemd/journal/io.systemd.journal`);
      await waitFor('journald', socket, {
        giveUp: () => (daemon.exitCode === null ? undefined : new Error(`it ended with ${daemon.exitCode}`)),
      });
      return journal;
    } catch (error) {
      await journal.stop();
      throw error;
    }
  }

  /** Writes lines as the unit SERVICE.service would; they are in the journal when this resolves. */
  async write(service: string, lines: readonly string[]): Promise<void> {
    const cgroup = `${this.slice}/${service}.service`;
    mkdirSync(cgroup, { recursive: true });
    try {
      // Who wrote a line is looked up when the line is read: the shell itself writes, and stays until all is read.
      const writer = 'while read -r line; do echo "$line"; done; journalctl --sync; true';
      const script = `echo 0 > '${cgroup}/cgroup.procs'; exec systemd-cat -t '${service}' sh -c '${writer}'`;
      await runCommand([...this.enter(), 'sh', '-c', script], { input: lines.map((line) => `${line}\n`).join('') });
      await runCommand([...this.command, '--sync']);
    } finally {
      await waitFor('the unit to be empty', () => {
        try {
          rmdirSync(cgroup);
          return true;
        } catch {
          return false;
        }
      });
    }
  }

  async stop(): Promise<void> {
    if (this.daemon.exitCode === null && this.daemon.signalCode === null) {
      this.daemon.kill('SIGKILL');
      await once(this.daemon, 'exit');
    }
    if (this.madeSlice && existsSync(this.slice)) rmdirSync(this.slice);
    rmSync(this.directory, { recursive: true, force: true });
  }

  private enter(): string[] {
    return ['nsenter', `--mount=/proc/${this.daemon.pid}/ns/mnt`];
  }
}
