import { readFileSync, writeFileSync } from 'node:fs';
import { HttpApiClient } from '../../src/cluster/api-client.ts';
import { loadKubeconfig } from '../../src/cluster/kubeconfig.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { NODE_NAME, startEmbeddedApi } from '../unit/standalone/embedded-api.ts';
import { Containerd } from './containerd.ts';
import { deckhandBundle } from './deckhand.ts';
import { NODE_ADDRESS, openNetwork } from './harness-node.ts';
import { HarnessRun, type StartedProcess } from './harness-run.ts';
import { NetnsDialer } from './netns-dialer.ts';
import { SocketBridge } from './socket-bridge.ts';
import { unitStart } from './unit-start.ts';

export interface JoinedNodeOptions {
  /** On the node's loopback. */
  readonly apiPort: number;
  /** More fields of the KubeletConfiguration and of the DeckhandConfiguration. */
  readonly kubelet?: Readonly<Record<string, unknown>>;
  readonly own?: Readonly<Record<string, unknown>>;
  readonly args?: readonly string[];
}

type Api = Awaited<ReturnType<typeof startEmbeddedApi>>;

/**
 * The real binary in a run's network namespace, joined to an API server of this process, which has faults and can be
 * filled without HTTP. `start` begins it, as often as it ended.
 */
export class JoinedNode {
  readonly run: HarnessRun;
  readonly netns: string;
  readonly clientNetns: string;
  readonly local: NetnsDialer;
  readonly containerd: Containerd;
  readonly api: Api;
  readonly admin: HttpApiClient;
  readonly kubeconfig: string;
  private readonly bridge: SocketBridge;
  private readonly argv: readonly string[];
  private process: StartedProcess | undefined;

  private constructor(parts: {
    run: HarnessRun;
    netns: string;
    clientNetns: string;
    local: NetnsDialer;
    containerd: Containerd;
    api: Api;
    admin: HttpApiClient;
    bridge: SocketBridge;
    kubeconfig: string;
    argv: readonly string[];
  }) {
    this.run = parts.run;
    this.netns = parts.netns;
    this.clientNetns = parts.clientNetns;
    this.local = parts.local;
    this.containerd = parts.containerd;
    this.api = parts.api;
    this.admin = parts.admin;
    this.bridge = parts.bridge;
    this.kubeconfig = parts.kubeconfig;
    this.argv = parts.argv;
  }

  /** Everything but the binary itself. */
  static async open(name: string, options: JoinedNodeOptions): Promise<JoinedNode> {
    const run = await HarnessRun.open(name);
    try {
      const { netns, clientNetns } = await openNetwork(run);
      const local = await NetnsDialer.start(run, netns);
      const containerd = await Containerd.start(run, netns);
      const api = await startEmbeddedApi();
      const bridge = await SocketBridge.open(run, netns, Number(new URL(api.api.url).port), options.apiPort);
      const connection = await loadKubeconfig(api.api.kubeconfigPath);
      const admin = new HttpApiClient({ connection, qps: -1 }, { clock: new SystemClock() });
      const { libDir, cgroupRoot } = run.paths;
      const kubeconfig = `${libDir}/kubeconfig`;
      const config = JSON.parse(readFileSync(api.api.kubeconfigPath, 'utf8'));
      config.clusters[0].cluster.server = `https://127.0.0.1:${options.apiPort}`;
      writeFileSync(kubeconfig, JSON.stringify(config));
      const documents = [
        {
          apiVersion: 'kubelet.config.k8s.io/v1beta1',
          kind: 'KubeletConfiguration',
          podLogsDir: `${libDir}/logs`,
          containerRuntimeEndpoint: containerd.endpoint,
          cgroupRoot,
          ...options.kubelet,
        },
        {
          apiVersion: 'deckhand.dev/v1alpha1',
          kind: 'DeckhandConfiguration',
          containerLogsDir: `${libDir}/container-logs`,
          ...options.own,
        },
      ];
      writeFileSync(`${libDir}/config.yaml`, documents.map((one) => JSON.stringify(one)).join('\n---\n'));
      const argv = [
        process.execPath,
        ...unitStart().flags,
        ...[deckhandBundle(), 'run', '--config', `${libDir}/config.yaml`, '--root-dir', `${libDir}/kubelet`],
        ...['--kubeconfig', kubeconfig, '--hostname-override', NODE_NAME],
        ...['--node-ip', NODE_ADDRESS, '--cluster-cidr', '10.244.0.0/16', ...(options.args ?? [])],
      ];
      return new JoinedNode({ run, netns, clientNetns, local, containerd, api, admin, bridge, kubeconfig, argv });
    } catch (error) {
      await run.close();
      throw error;
    }
  }

  start(): void {
    const env = { ...process.env, ...unitStart().env };
    this.process = this.run.spawn('deckhand', this.argv, { netns: this.netns, env });
  }

  get deckhand(): StartedProcess {
    if (this.process === undefined) throw new Error('deckhand was not started');
    return this.process;
  }

  /** For waitFor: what it said, when it has ended. */
  readonly giveUp = (): Error | undefined => {
    const { exitCode, logFile } = this.deckhand;
    if (exitCode === undefined) return undefined;
    return new Error(`deckhand ended with ${exitCode}: ${readFileSync(logFile, 'utf8').slice(-2000)}`);
  };

  async close(): Promise<void> {
    await this.bridge.close();
    this.admin.close();
    await this.api.close();
    await this.run.close();
  }
}
