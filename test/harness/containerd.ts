import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { bridgeConflist, containerdConfig } from './containerd-config.ts';
import type { HarnessRun, StartedProcess } from './harness-run.ts';
import { buildImages, type ImageArchive, PAUSE_IMAGE } from './images.ts';
import { runCommand, tryCommand } from './run-command.ts';
import { waitFor } from './wait-for.ts';

export interface ContainerdOptions {
  /** The binary. Default "containerd" (env CONTAINERD picks another for a whole test run). */
  readonly binary?: string;
  /** Pods' addresses. Default 10.244.1.0/24; namespaces keep runs apart. */
  readonly subnet?: string;
  readonly bridge?: string;
  /** Default: the three of buildImages(). */
  readonly images?: readonly ImageArchive[];
}

/** A containerd of a run, in the run's network namespace, with its own root, state, socket and CNI bridge. */
export class Containerd {
  readonly socket: string;
  /** As CRI clients want it: unix:///run/…/containerd.sock */
  readonly endpoint: string;
  readonly version: string;
  private readonly run: HarnessRun;
  private readonly netns: string;
  private readonly argv: readonly string[];
  private process: StartedProcess;

  private constructor(run: HarnessRun, netns: string, argv: readonly string[], version: string) {
    this.run = run;
    this.netns = netns;
    this.argv = argv;
    this.version = version;
    this.socket = run.paths.containerdSocket;
    this.endpoint = `unix://${this.socket}`;
    this.process = run.spawn('containerd', argv, { netns });
  }

  /** Starts it and imports the images; it answers when this resolves. */
  static async start(run: HarnessRun, netns: string, options: ContainerdOptions = {}): Promise<Containerd> {
    const binary = options.binary ?? process.env['CONTAINERD'] ?? 'containerd';
    // "containerd github.com/containerd/containerd 1.6.20~ds1 …"
    const version = (await runCommand([binary, '--version'])).trim().split(/\s+/)[2]?.replace(/^v/, '') ?? '';
    const { runDir, libDir, containerdSocket } = run.paths;
    const cniConfDir = `${runDir}/cni`;
    mkdirSync(cniConfDir, { recursive: true });
    writeFileSync(
      `${runDir}/containerd.toml`,
      containerdConfig({
        version: version.startsWith('1.') ? 2 : 3,
        root: `${libDir}/containerd`,
        state: `${runDir}/state`,
        socket: containerdSocket,
        cniConfDir,
        sandboxImage: PAUSE_IMAGE,
        runcRoot: `${runDir}/runc`,
      }),
    );
    const bridge = options.bridge ?? 'cni0';
    const subnet = options.subnet ?? '10.244.1.0/24';
    writeFileSync(
      `${cniConfDir}/10-bridge.conflist`,
      bridgeConflist({ network: run.name, bridge, subnet, ipamDir: `${libDir}/ipam` }),
    );

    const containerd = new Containerd(run, netns, [binary, '--config', `${runDir}/containerd.toml`], version);
    await containerd.whenReady();
    await containerd.importImages(options.images ?? buildImages());
    return containerd;
  }

  get pid(): number {
    return this.process.pid;
  }

  /** Runs ctr against it, in the namespace that CRI uses. Returns its standard output. */
  ctr(...args: string[]): Promise<string> {
    return runCommand(['ctr', '--address', this.socket, '--namespace', 'k8s.io', ...args], { timeoutMs: 60_000 });
  }

  /** Starts a container without CRI, below the run's cgroup; `options` are those of `ctr run`. */
  async runContainer(id: string, image: string, options: readonly string[] = [], command: readonly string[] = []) {
    const cgroup = `${this.run.paths.cgroupRoot}/${id}`;
    const runcRoot = `${this.run.paths.runDir}/runc`;
    const place = ['--cgroup', cgroup, '--runc-root', runcRoot, '--fifo-dir', `${this.run.paths.runDir}/fifo`];
    await this.ctr('run', '--detach', ...place, ...options, image, id, ...command);
  }

  async importImages(archives: readonly ImageArchive[]): Promise<void> {
    const present = new Set((await this.ctr('images', 'list', '--quiet')).split('\n'));
    for (const archive of archives) {
      if (!present.has(archive.reference)) await this.ctr('images', 'import', archive.path);
    }
  }

  /** kill -9; containers and their shims live on. */
  async kill(): Promise<void> {
    await this.run.stop(this.process, 0);
  }

  /** Starts it again with the same state after `kill`. */
  async restart(): Promise<void> {
    await this.run.stop(this.process, 5_000);
    this.process = this.run.spawn('containerd', this.argv, { netns: this.netns });
    await this.whenReady();
  }

  private async whenReady(): Promise<void> {
    await waitFor(
      'containerd to answer',
      // Listing needs the metadata store and the CRI's content plugins, so it answers later than the socket accepts.
      async () => (await tryCommand(['ctr', '--address', this.socket, 'plugins', 'ls', 'id==cri'])).code === 0,
      {
        timeoutMs: 30_000,
        intervalMs: 50,
        giveUp: () =>
          this.process.exitCode === undefined
            ? undefined
            : new Error(`it ended with ${this.process.exitCode}:\n${tail(this.process.logFile)}`),
      },
    );
  }
}

/** The last lines of a log file, for error messages. */
export function tail(file: string, lines = 25): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch (error) {
    return `(no log: ${error instanceof Error ? error.message : error})`;
  }
}
