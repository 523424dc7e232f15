import { type Clock, SystemClock } from '../../kit/clock.ts';
import { hasCode } from '../../kit/errors.ts';
import { type Logger, silent } from '../../kit/log.ts';
import type { Metrics } from '../../kit/metrics.ts';
import { Channel } from './channel.ts';
import { checkRuntimeApi } from './check-runtime-api.ts';
import {
  authToWire,
  containerConfigToWire,
  containerFilterToWire,
  resourcesToWire,
  sandboxConfigToWire,
  sandboxFilterToWire,
} from './convert-request.ts';
import {
  cgroupDriverFromWire,
  containerFromWire,
  containerStatsFromWire,
  containerStatusFromWire,
  filesystemFromWire,
  imageFromWire,
  required,
  runtimeStatusFromWire,
  sandboxFromWire,
  sandboxImageFromWire,
  sandboxStatsFromWire,
  sandboxStatusFromWire,
} from './convert-response.ts';
import { type CriDeadlines, criDeadlines } from './deadlines.ts';
import { watchRuntimeEvents } from './event-watch.ts';
import { ImageService, type Method, RuntimeService } from './generated/services.js';
import { OperationMetrics } from './operation-metrics.ts';
import type {
  AuthConfig,
  Container,
  ContainerConfig,
  ContainerStats,
  ContainerStatus,
  CriRuntime,
  ExecRequest,
  ExecResult,
  FilesystemUsage,
  Image,
  LinuxResources,
  ListFilter,
  PodSandbox,
  PodSandboxConfig,
  PodSandboxStats,
  PodSandboxStatus,
  RuntimeEventListener,
  RuntimeStatus,
  VersionInfo,
} from './port.ts';

export interface RealCriOptions {
  /** unix:///run/containerd/containerd.sock */
  readonly endpoint: string;
  /** Where the image service listens, when it is elsewhere. */
  readonly imageEndpoint?: string;
  /** runtimeRequestTimeout. Default 2 minutes. */
  readonly requestTimeoutMs?: number;
}

export interface RealCriDeps {
  readonly clock?: Clock;
  readonly log?: Logger;
  readonly metrics?: Metrics;
}

// What kubelet sends as its own version; runtimes ignore it.
const KUBE_RUNTIME_API_VERSION = '0.1.0';

/** How to make one call: operation type (kubelet's label), subject for messages, and limits. */
interface Call {
  readonly type: string;
  readonly subject?: string;
  /** Default: runtimeRequestTimeout. 'none' is no deadline. */
  readonly timeoutMs?: number | 'none' | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A container runtime behind a unix socket, over gRPC. */
export class RealCri implements CriRuntime {
  private readonly runtime: Channel;
  private readonly images: Channel;
  private readonly deadlines: CriDeadlines;
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly metrics: OperationMetrics | undefined;

  constructor(options: RealCriOptions, deps: RealCriDeps = {}) {
    this.clock = deps.clock ?? new SystemClock();
    this.log = deps.log ?? silent;
    this.metrics = deps.metrics && new OperationMetrics(deps.metrics);
    this.deadlines = criDeadlines(options.requestTimeoutMs);
    this.runtime = new Channel(options.endpoint, this.clock);
    const elsewhere = options.imageEndpoint !== undefined && options.imageEndpoint !== options.endpoint;
    this.images = elsewhere ? new Channel(options.imageEndpoint, this.clock) : this.runtime;
  }

  /** At start: throws Unimplemented unless the runtime speaks CRI v1. */
  checkApi(signal?: AbortSignal): Promise<VersionInfo> {
    return checkRuntimeApi(this, signal);
  }

  async version(signal?: AbortSignal): Promise<VersionInfo> {
    const answer = await this.ask(
      RuntimeService.Version,
      { version: KUBE_RUNTIME_API_VERSION },
      { type: 'version', signal },
    );
    const { runtimeName, runtimeVersion, runtimeApiVersion } = answer;
    return { runtimeName, runtimeVersion, runtimeApiVersion };
  }

  async status(signal?: AbortSignal): Promise<RuntimeStatus> {
    return runtimeStatusFromWire(await this.ask(RuntimeService.Status, { verbose: false }, { type: 'status', signal }));
  }

  async sandboxImage(): Promise<string | undefined> {
    const { info } = await this.ask(RuntimeService.Status, { verbose: true }, { type: 'status' });
    return sandboxImageFromWire(info ?? {});
  }

  async runtimeConfig(): Promise<{ readonly cgroupDriver: 'cgroupfs' | 'systemd' }> {
    const answer = await this.ask(RuntimeService.RuntimeConfig, {}, { type: 'runtime_config' });
    return { cgroupDriver: cgroupDriverFromWire(required(answer.linux, 'RuntimeConfig', 'linux')) };
  }

  async updateRuntimeConfig(podCIDR: string): Promise<void> {
    await this.ask(
      RuntimeService.UpdateRuntimeConfig,
      { runtimeConfig: { networkConfig: { podCidr: podCIDR } } },
      { type: 'update_runtime_config', subject: podCIDR },
    );
  }

  async runPodSandbox(config: PodSandboxConfig, runtimeHandler: string, signal?: AbortSignal): Promise<string> {
    const started = this.clock.monotonic();
    let failed = true;
    try {
      const answer = await this.ask(
        RuntimeService.RunPodSandbox,
        { config: sandboxConfigToWire(config), runtimeHandler },
        {
          type: 'run_podsandbox',
          subject: `${config.metadata.namespace}/${config.metadata.name}`,
          timeoutMs: this.deadlines.runPodSandbox,
          signal,
        },
      );
      const id = required(answer.podSandboxId || undefined, 'RunPodSandbox', config.metadata.name);
      failed = false;
      return id;
    } finally {
      this.metrics?.recordSandbox(runtimeHandler, (this.clock.monotonic() - started) / 1000, failed);
    }
  }

  async stopPodSandbox(id: string): Promise<void> {
    await this.unlessGone(
      this.ask(RuntimeService.StopPodSandbox, { podSandboxId: id }, { type: 'stop_podsandbox', subject: id }),
    );
  }

  async removePodSandbox(id: string): Promise<void> {
    await this.unlessGone(
      this.ask(RuntimeService.RemovePodSandbox, { podSandboxId: id }, { type: 'remove_podsandbox', subject: id }),
    );
  }

  async podSandboxStatus(id: string): Promise<PodSandboxStatus> {
    const answer = await this.ask(
      RuntimeService.PodSandboxStatus,
      { podSandboxId: id, verbose: false },
      { type: 'podsandbox_status', subject: id },
    );
    return sandboxStatusFromWire(required(answer.status, 'PodSandboxStatus', id));
  }

  async listPodSandbox(filter: ListFilter = {}): Promise<PodSandbox[]> {
    const answer = await this.ask(
      RuntimeService.ListPodSandbox,
      { filter: sandboxFilterToWire(filter) },
      { type: 'list_podsandbox' },
    );
    return answer.items.map(sandboxFromWire);
  }

  async updatePodSandboxResources(id: string, overhead: LinuxResources, resources: LinuxResources): Promise<void> {
    await this.ask(
      RuntimeService.UpdatePodSandboxResources,
      { podSandboxId: id, overhead: resourcesToWire(overhead), resources: resourcesToWire(resources) },
      { type: 'update_podsandbox_resources', subject: id },
    );
  }

  async createContainer(
    sandboxId: string,
    config: ContainerConfig,
    sandboxConfig: PodSandboxConfig,
    signal?: AbortSignal,
  ): Promise<string> {
    const answer = await this.ask(
      RuntimeService.CreateContainer,
      {
        podSandboxId: sandboxId,
        config: containerConfigToWire(config),
        sandboxConfig: sandboxConfigToWire(sandboxConfig),
      },
      { type: 'create_container', subject: config.metadata.name, signal },
    );
    return required(answer.containerId || undefined, 'CreateContainer', config.metadata.name);
  }

  async startContainer(id: string, signal?: AbortSignal): Promise<void> {
    await this.ask(
      RuntimeService.StartContainer,
      { containerId: id },
      { type: 'start_container', subject: id, signal },
    );
  }

  async stopContainer(id: string, timeoutSeconds: number): Promise<void> {
    const timeout = wholeSeconds(timeoutSeconds);
    await this.unlessGone(
      this.ask(
        RuntimeService.StopContainer,
        { containerId: id, timeout },
        { type: 'stop_container', subject: id, timeoutMs: this.deadlines.afterGrace(timeout) },
      ),
    );
  }

  async removeContainer(id: string): Promise<void> {
    await this.unlessGone(
      this.ask(RuntimeService.RemoveContainer, { containerId: id }, { type: 'remove_container', subject: id }),
    );
  }

  async listContainers(filter: ListFilter = {}): Promise<Container[]> {
    const answer = await this.ask(
      RuntimeService.ListContainers,
      { filter: containerFilterToWire(filter) },
      { type: 'list_containers' },
    );
    return answer.containers.map(containerFromWire);
  }

  async containerStatus(id: string): Promise<ContainerStatus> {
    const answer = await this.ask(
      RuntimeService.ContainerStatus,
      { containerId: id, verbose: false },
      { type: 'container_status', subject: id },
    );
    return containerStatusFromWire(required(answer.status, 'ContainerStatus', id));
  }

  async updateContainerResources(id: string, resources: LinuxResources): Promise<void> {
    await this.ask(
      RuntimeService.UpdateContainerResources,
      { containerId: id, linux: resourcesToWire(resources) },
      { type: 'update_container', subject: id },
    );
  }

  async reopenContainerLog(id: string): Promise<void> {
    await this.ask(
      RuntimeService.ReopenContainerLog,
      { containerId: id },
      { type: 'reopen_container_log', subject: id },
    );
  }

  async checkpointContainer(id: string, location: string, timeoutSeconds: number): Promise<void> {
    const timeout = wholeSeconds(timeoutSeconds);
    await this.ask(
      RuntimeService.CheckpointContainer,
      { containerId: id, location, timeout },
      {
        type: 'checkpoint_container',
        subject: id,
        timeoutMs: timeout > 0 ? timeout * 1000 : undefined,
      },
    );
  }

  async execSync(
    id: string,
    command: readonly string[],
    timeoutSeconds: number,
    signal?: AbortSignal,
  ): Promise<ExecResult> {
    const timeout = wholeSeconds(timeoutSeconds);
    const answer = await this.ask(
      RuntimeService.ExecSync,
      { containerId: id, cmd: command, timeout },
      { type: 'exec_sync', subject: id, timeoutMs: this.deadlines.afterTimeout(timeout) ?? 'none', signal },
    );
    return { stdout: asBuffer(answer.stdout), stderr: asBuffer(answer.stderr), exitCode: answer.exitCode };
  }

  async exec(request: ExecRequest): Promise<string> {
    const { command, ...rest } = request;
    const answer = await this.ask(
      RuntimeService.Exec,
      { ...rest, cmd: command },
      { type: 'exec', subject: request.containerId },
    );
    return answer.url;
  }

  async attach(request: Omit<ExecRequest, 'command'>): Promise<string> {
    const answer = await this.ask(RuntimeService.Attach, request, { type: 'attach', subject: request.containerId });
    return answer.url;
  }

  async portForward(sandboxId: string, ports: readonly number[]): Promise<string> {
    const answer = await this.ask(
      RuntimeService.PortForward,
      { podSandboxId: sandboxId, port: ports },
      { type: 'port_forward', subject: sandboxId },
    );
    return answer.url;
  }

  async containerStats(id: string): Promise<ContainerStats> {
    const answer = await this.ask(
      RuntimeService.ContainerStats,
      { containerId: id },
      { type: 'container_stats', subject: id },
    );
    return containerStatsFromWire(required(answer.stats, 'ContainerStats', id));
  }

  async listContainerStats(filter: ListFilter = {}): Promise<ContainerStats[]> {
    const answer = await this.ask(
      RuntimeService.ListContainerStats,
      { filter: containerFilterToWire(filter) },
      { type: 'list_container_stats' },
    );
    return answer.stats.map(containerStatsFromWire);
  }

  async podSandboxStats(id: string): Promise<PodSandboxStats> {
    const answer = await this.ask(
      RuntimeService.PodSandboxStats,
      { podSandboxId: id },
      { type: 'podsandbox_stats', subject: id },
    );
    return sandboxStatsFromWire(required(answer.stats, 'PodSandboxStats', id));
  }

  async listPodSandboxStats(filter: ListFilter = {}): Promise<PodSandboxStats[]> {
    const answer = await this.ask(
      RuntimeService.ListPodSandboxStats,
      { filter: sandboxFilterToWire(filter) },
      { type: 'list_podsandbox_stats' },
    );
    return answer.stats.map(sandboxStatsFromWire);
  }

  async listImages(): Promise<Image[]> {
    const answer = await this.askImages(ImageService.ListImages, {}, { type: 'list_images' });
    return answer.images.map(imageFromWire);
  }

  async imageStatus(image: string): Promise<Image | undefined> {
    const answer = await this.askImages(
      ImageService.ImageStatus,
      { image: { image }, verbose: false },
      { type: 'image_status', subject: image },
    );
    return answer.image === null ? undefined : imageFromWire(answer.image);
  }

  async pullImage(
    image: string,
    sandboxConfig: PodSandboxConfig,
    auth?: AuthConfig,
    signal?: AbortSignal,
  ): Promise<string> {
    const answer = await this.askImages(
      ImageService.PullImage,
      {
        image: { image },
        auth: auth && authToWire(auth),
        sandboxConfig: sandboxConfigToWire(sandboxConfig),
      },
      { type: 'pull_image', subject: image, timeoutMs: 'none', signal },
    );
    return required(answer.imageRef || undefined, 'PullImage', image);
  }

  async removeImage(image: string): Promise<void> {
    await this.unlessGone(
      this.askImages(ImageService.RemoveImage, { image: { image } }, { type: 'remove_image', subject: image }),
    );
  }

  async imageFsInfo(): Promise<{
    readonly imageFilesystems: FilesystemUsage[];
    readonly containerFilesystems: FilesystemUsage[];
  }> {
    const answer = await this.askImages(ImageService.ImageFsInfo, {}, { type: 'image_fs_info' });
    return {
      imageFilesystems: answer.imageFilesystems.map(filesystemFromWire),
      containerFilesystems: answer.containerFilesystems.map(filesystemFromWire),
    };
  }

  watchEvents(listener: RuntimeEventListener, signal: AbortSignal): Promise<'aborted' | 'unsupported'> {
    return watchRuntimeEvents({ channel: this.runtime, cri: this, clock: this.clock, log: this.log }, listener, signal);
  }

  close(): void {
    if (this.images !== this.runtime) this.images.close();
    this.runtime.close();
  }

  private ask<Request, Response>(method: Method<Request, Response>, request: Request, call: Call): Promise<Response> {
    return this.send(this.runtime, method, request, call);
  }

  private askImages<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    call: Call,
  ): Promise<Response> {
    return this.send(this.images, method, request, call);
  }

  private async send<Request, Response>(
    channel: Channel,
    method: Method<Request, Response>,
    request: Request,
    call: Call,
  ): Promise<Response> {
    const { type, subject = '', timeoutMs = this.deadlines.other, signal } = call;
    const started = this.clock.monotonic();
    let failed = true;
    try {
      const answer = await channel.unary(method, request, {
        subject,
        timeoutMs: timeoutMs === 'none' ? undefined : timeoutMs,
        signal,
      });
      failed = false;
      return answer;
    } finally {
      this.metrics?.record(type, (this.clock.monotonic() - started) / 1000, failed);
    }
  }

  /** Stopping or removing what is gone has succeeded; not every runtime answers so. */
  private async unlessGone(call: Promise<unknown>): Promise<void> {
    try {
      await call;
    } catch (error) {
      if (!hasCode(error, 'NotFound')) throw error;
    }
  }
}

/** The CRI counts whole seconds; less than one must not become "no limit". */
function wholeSeconds(seconds: number): number {
  return Math.max(0, Math.ceil(seconds));
}

/** A view, without copying. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
