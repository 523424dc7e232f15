import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tail } from './containerd.ts';
import type { HarnessRun, StartedProcess } from './harness-run.ts';
import { KubeClient } from './kube-client.ts';
import type { NetnsDialer } from './netns-dialer.ts';
import { isAlive, signal } from './process-identity.ts';
import { projectRoot } from './project-root.ts';
import { unitStart } from './unit-start.ts';
import { waitFor } from './wait-for.ts';

export interface DeckhandOptions {
  /** A folder of YAML to apply and follow. */
  readonly manifests?: string;
  readonly nodeName?: string;
  readonly nodeIp?: string;
  readonly podCidr?: string;
  readonly serviceCidr?: string;
  readonly apiPort?: number;
  readonly healthzPort?: number;
  /** More fields of its KubeletConfiguration. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** More command line arguments for `deckhand run`. */
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly endpoint: string;
}

/** The bundle under test. Env DECKHAND_BUNDLE names another. */
export function deckhandBundle(): string {
  const bundle = process.env['DECKHAND_BUNDLE'] ?? join(projectRoot(), 'dist', 'deckhand.mjs');
  if (!existsSync(bundle)) throw new Error(`${bundle} is not there: run "npm run build" first`);
  return bundle;
}

/** `deckhand run` on its own (embedded API) in a run's network namespace. */
export class Deckhand {
  readonly kubeconfig: string;
  readonly dataDir: string;
  readonly healthz: string;
  readonly nodeName: string;
  private readonly run: HarnessRun;
  private readonly netns: string;
  private readonly dialer: NetnsDialer;
  private readonly argv: readonly string[];
  private readonly env: NodeJS.ProcessEnv;
  private process: StartedProcess;
  private client: KubeClient | undefined;

  private constructor(run: HarnessRun, netns: string, dialer: NetnsDialer, options: DeckhandOptions) {
    const { libDir, cgroupRoot } = run.paths;
    this.run = run;
    this.netns = netns;
    this.dialer = dialer;
    this.dataDir = `${libDir}/data`;
    this.kubeconfig = `${this.dataDir}/kubeconfig`;
    this.nodeName = options.nodeName ?? 'node-1';
    const healthzPort = options.healthzPort ?? 10248;
    this.healthz = `http://127.0.0.1:${healthzPort}/healthz`;
    // kubelet has no flag for this one either.
    const configFile = `${run.paths.runDir}/deckhand.yaml`;
    const config = {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      podLogsDir: `${libDir}/logs`,
      ...options.config,
    };
    const own = {
      apiVersion: 'deckhand.dev/v1alpha1',
      kind: 'DeckhandConfiguration',
      containerLogsDir: `${libDir}/container-logs`,
    };
    writeFileSync(configFile, `${JSON.stringify(config)}\n---\n${JSON.stringify(own)}\n`);
    const flags: Readonly<Record<string, string | number | undefined>> = {
      config: configFile,
      manifests: options.manifests,
      'data-dir': this.dataDir,
      'root-dir': `${libDir}/kubelet`,
      'container-runtime-endpoint': options.endpoint,
      'cgroup-root': cgroupRoot,
      'api-port': options.apiPort ?? 6443,
      'healthz-port': healthzPort,
      'hostname-override': this.nodeName,
      'node-ip': options.nodeIp ?? '127.0.0.1',
      'service-cidr': options.serviceCidr ?? '10.96.0.0/16',
      'pod-cidr': options.podCidr ?? '10.244.1.0/24',
      'cluster-cidr': '10.244.0.0/16',
    };
    const unit = unitStart();
    this.argv = [
      process.execPath,
      ...unit.flags,
      deckhandBundle(),
      'run',
      ...Object.entries(flags).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, String(value)])),
      ...(options.args ?? []),
    ];
    this.env = { ...process.env, ...unit.env, ...options.env };
    this.process = run.spawn('deckhand', this.argv, { netns, env: this.env });
  }

  /** Starts it; resolves when it is healthy and its API answers. */
  static async start(run: HarnessRun, netns: string, dialer: NetnsDialer, options: DeckhandOptions): Promise<Deckhand> {
    const deckhand = new Deckhand(run, netns, dialer, options);
    await deckhand.whenHealthy();
    return deckhand;
  }

  get pid(): number {
    return this.process.pid;
  }

  get alive(): boolean {
    return isAlive(this.process);
  }

  get exitCode(): number | undefined {
    return this.process.exitCode;
  }

  get logFile(): string {
    return this.process.logFile;
  }

  /** A client of its embedded API. */
  get api(): KubeClient {
    this.client ??= new KubeClient(this.dialer, this.kubeconfig);
    return this.client;
  }

  /** Resident bytes now. */
  rssBytes(): number {
    const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1];
    return Number(kib) * 1024;
  }

  /** User and system time it has used so far, in milliseconds (proc_pid_stat(5), 14 and 15, at 100 ticks a second). */
  cpuMs(): number {
    const stat = readFileSync(`/proc/${this.pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  logTail(lines = 25): string {
    return tail(this.logFile, lines);
  }

  /** kill -9. */
  async kill(): Promise<void> {
    await this.run.stop(this.process, 0);
  }

  /** SIGTERM and its own time to stop. Returns the exit code. */
  async stop(): Promise<number> {
    signal(this.process, 'SIGTERM');
    await waitFor('deckhand to stop', () => !this.alive && this.process.exitCode !== undefined, { intervalMs: 10 });
    return this.process.exitCode ?? 128;
  }

  /** Starts it again with the same flags and data. */
  /** `more` flags go before those that it has. */
  async restart(more: readonly string[] = []): Promise<void> {
    if (this.alive) await this.stop();
    this.process = this.run.spawn('deckhand', [...this.argv, ...more], { netns: this.netns, env: this.env });
    // A data directory that was lost meanwhile gets new certificates.
    this.client = undefined;
    await this.whenHealthy();
  }

  private async whenHealthy(): Promise<void> {
    const giveUp = (): Error | undefined =>
      this.alive ? undefined : new Error(`it ended with ${this.process.exitCode}:\n${this.logTail()}`);
    try {
      await waitFor('deckhand to be healthy', async () => (await this.dialer.request(this.healthz)).status === 200, {
        giveUp,
      });
      await waitFor('the embedded API to answer', async () => (await this.api.raw('/version')) !== '', { giveUp });
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}\nlog ${this.logFile}:\n${this.logTail()}`);
    }
  }
}
