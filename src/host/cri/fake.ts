import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, type ErrorCode } from '../../kit/errors.ts';
import { FakeContainer, type FakeExit, type FakeProgram, type FakeSignal } from './fake-container.ts';
import { type CriOperation, type FailOptions, FakeFaults } from './fake-faults.ts';
import { type FakeImageOptions, FakeImages, type RegistryAccess } from './fake-images.ts';
import type {
  AuthConfig,
  Container,
  ContainerConfig,
  ContainerStats,
  ContainerStatus,
  CpuUsage,
  CriRuntime,
  ExecRequest,
  ExecResult,
  FilesystemUsage,
  Image,
  Labels,
  LinuxResources,
  ListFilter,
  MemoryUsage,
  PodSandbox,
  PodSandboxConfig,
  PodSandboxStats,
  PodSandboxStatus,
  RuntimeEvent,
  RuntimeEventListener,
  RuntimeStatus,
  SandboxState,
  VersionInfo,
} from './port.ts';

export interface FakeCriOptions {
  /** Pods get <prefix>.2, <prefix>.3, …; an address is used again only when none is left. Default "10.88.0". */
  readonly podPrefix?: string;
  /** Besides the default "". */
  readonly runtimeHandlers?: readonly string[];
  /** Whether there is an event stream. Default true. */
  readonly events?: boolean;
  /** What it says its sandboxes are made of. */
  readonly sandboxImage?: string;
  /** Whether it can checkpoint containers, as CRI-O and containerd 2 can where CRIU is. Default false. */
  readonly checkpoints?: boolean;
  /** Calls that this runtime does not know; containerd 1.6 lacks runtimeConfig and updatePodSandboxResources. */
  readonly unimplemented?: readonly CriOperation[];
}

/** What a command run in a container answers. `hang` runs until the call's time is over. */
export interface FakeExecAnswer {
  readonly stdout?: string;
  readonly stderr?: string;
  readonly exitCode?: number;
  readonly takesMs?: number;
  readonly hang?: boolean;
}

export type FakeExecHandler = (call: {
  readonly containerId: string;
  readonly podName: string;
  readonly containerName: string;
  readonly command: readonly string[];
}) => FakeExecAnswer | Promise<FakeExecAnswer>;

interface FakeSandbox {
  readonly id: string;
  readonly config: PodSandboxConfig;
  readonly runtimeHandler: string;
  readonly createdAt: number;
  state: SandboxState;
  ip: string | undefined;
  resources: LinuxResources | undefined;
}

const SIGKILL_CODE = 137;

/**
 * A container runtime in memory. It holds sandboxes, containers and images, refuses what containerd refuses, and lets a
 * test look in (`container`, `signals`, …) and interfere (`exit`, `failNext`, `stopRuntime`, …). Time is the clock's.
 */
export class FakeCri implements CriRuntime {
  /** Every signal that a container got, in order. */
  readonly signals: FakeSignal[] = [];
  private readonly images = new FakeImages();
  private readonly faults: FakeFaults;
  private readonly clock: Clock;
  private readonly options: FakeCriOptions;
  private readonly sandboxes = new Map<string, FakeSandbox>();
  private readonly containers = new Map<string, FakeContainer>();
  private readonly programs = new Map<string, FakeProgram | ((attempt: number) => FakeProgram)>();
  private readonly usage = new Map<string, { cpu: Partial<CpuUsage>; memory: Partial<MemoryUsage> }>();
  private readonly listeners = new Set<RuntimeEventListener>();
  private readonly conditions = new Map([
    ['RuntimeReady', { status: true, reason: '', message: '' }],
    ['NetworkReady', { status: true, reason: '', message: '' }],
  ]);
  private execHandler: FakeExecHandler = () => ({});
  private imageFilesystem: FilesystemUsage | undefined;
  private serial = 0;
  private nextAddress = 2;
  /** Counts restarts; undefined while the runtime is away. */
  private incarnation: number | undefined = 1;
  private incarnations = 1;
  private closed = false;
  private podCIDR = '';
  /** Rejects, for calls under way, when the runtime goes away. */
  private broken: Promise<never>;
  private breakCalls = (): void => undefined;

  constructor(options: FakeCriOptions, deps: { readonly clock: Clock }) {
    this.options = options;
    this.clock = deps.clock;
    this.faults = new FakeFaults(deps.clock);
    this.broken = this.nextBreak();
  }

  // What a test sets up and interferes with.

  /** Puts an image on the node. */
  addImage(reference: string, options: FakeImageOptions = {}): Image {
    return this.images.add(reference, options);
  }

  /** Puts an image into the registry, from where it can be pulled. */
  publishImage(reference: string, options: FakeImageOptions = {}): void {
    this.images.publish(reference, options);
  }

  unpublishImage(reference: string): void {
    this.images.unpublish(reference);
  }

  /** What was asked of the registry, with which credentials. */
  get registryAccesses(): readonly RegistryAccess[] {
    return this.images.accesses;
  }

  /** What containers of that name ("web", or "pod/web") run from their next creation on. */
  program(containerName: string, program: FakeProgram | ((attempt: number) => FakeProgram)): void {
    this.programs.set(containerName, program);
  }

  setExec(handler: FakeExecHandler): void {
    this.execHandler = handler;
  }

  /** Ends a running container's process. */
  exit(containerId: string, code: number, how: Omit<FakeExit, 'code'> = {}): void {
    const container = this.mustFind(containerId);
    if (container.state !== 'RUNNING') {
      throw new Error(`container ${container.name} is ${container.state}: only a running one can exit`);
    }
    container.exit({ code, ...how });
  }

  oomKill(containerId: string): void {
    this.exit(containerId, SIGKILL_CODE, { reason: 'OOMKilled' });
  }

  /** The sandbox's own process dies: not ready any more; containers that share its process namespace die with it. */
  killSandbox(sandboxId: string): void {
    const sandbox = this.sandboxes.get(sandboxId);
    if (sandbox === undefined) throw new Error(`no sandbox ${sandboxId}`);
    if (sandbox.state === 'NOTREADY') return;
    sandbox.state = 'NOTREADY';
    this.emit('stopped', sandboxId);
    for (const container of this.containersOf(sandboxId)) {
      if (container.config.security.namespaceOptions.pid === 'POD') container.exit({ code: SIGKILL_CODE });
    }
  }

  /** All processes are gone, sandboxes and containers remain: a node that was switched off and on. */
  rebootNode(): void {
    for (const container of this.containers.values()) container.exit({ code: 255, reason: 'Unknown' });
    for (const sandbox of this.sandboxes.values()) {
      sandbox.state = 'NOTREADY';
      sandbox.ip = undefined;
    }
  }

  /** The next calls of `operation` fail. */
  failNext(operation: CriOperation, error: CodedError | ErrorCode, options: FailOptions = {}): void {
    this.faults.fail(operation, error, options);
  }

  /** Calls of `operation` take so long from now on; 0 takes that back. */
  delay(operation: CriOperation, ms: number, match?: (subject: string) => boolean): void {
    this.faults.delay(operation, ms, match);
  }

  /** Calls of `operation` hang until the returned function is called. */
  hold(operation: CriOperation, match?: (subject: string) => boolean): () => void {
    return this.faults.hold(operation, match);
  }

  /** The runtime's daemon goes away: calls fail with Unavailable, event streams break, containers run on. */
  stopRuntime(): void {
    this.incarnation = undefined;
    this.breakCalls();
  }

  startRuntime(): void {
    if (this.incarnation !== undefined) return;
    this.incarnation = ++this.incarnations;
    this.broken = this.nextBreak();
    for (const listener of this.listeners) void Promise.resolve().then(() => this.tell(listener));
  }

  setCondition(type: 'RuntimeReady' | 'NetworkReady', status: boolean, reason = '', message = ''): void {
    this.conditions.set(type, { status, reason, message });
  }

  setUsage(containerId: string, usage: { cpu?: Partial<CpuUsage>; memory?: Partial<MemoryUsage> }): void {
    this.mustFind(containerId);
    this.usage.set(containerId, { cpu: usage.cpu ?? {}, memory: usage.memory ?? {} });
  }

  setImageFilesystem(usage: FilesystemUsage): void {
    this.imageFilesystem = usage;
  }

  /** Appends one line to the container's log file, in the CRI's format. */
  writeLog(containerId: string, text: string, stream: 'stdout' | 'stderr' = 'stdout'): void {
    const container = this.mustFind(containerId);
    const path = join(this.sandboxOf(container).config.logDirectory, container.config.logPath);
    mkdirSync(dirname(path), { recursive: true });
    const time = new Date(this.clock.now()).toISOString().replace('Z', '000000Z');
    appendFileSync(path, `${time} ${stream} F ${text}\n`);
  }

  // What a test looks at.

  /** The newest container of that name in the pod, removed ones not counted. */
  container(podName: string, containerName: string): FakeContainer | undefined {
    return this.containersNamed(podName, containerName).at(-1);
  }

  /** All containers of that name in the pod, oldest attempt first. */
  containersNamed(podName: string, containerName: string): FakeContainer[] {
    return [...this.containers.values()]
      .filter((c) => c.name === containerName && this.sandboxOf(c).config.metadata.name === podName)
      .sort((a, b) => a.attempt - b.attempt || a.createdAt - b.createdAt);
  }

  /** How a container's process ended; undefined while it runs, and for what never ran. */
  exitCodeOf(containerId: string): number | undefined {
    const container = this.containers.get(containerId);
    return container?.state === 'EXITED' && container.startedAt > 0 ? container.exitCode : undefined;
  }

  /** The newest sandbox of the pod. */
  sandbox(podName: string): Readonly<FakeSandbox> | undefined {
    return [...this.sandboxes.values()]
      .filter((sandbox) => sandbox.config.metadata.name === podName)
      .sort((a, b) => a.config.metadata.attempt - b.config.metadata.attempt)
      .at(-1);
  }

  get counts(): { readonly sandboxes: number; readonly containers: number; readonly running: number } {
    const running = [...this.containers.values()].filter((c) => c.state === 'RUNNING').length;
    return { sandboxes: this.sandboxes.size, containers: this.containers.size, running };
  }

  /** What updateRuntimeConfig told. */
  get configuredPodCIDR(): string {
    return this.podCIDR;
  }

  // The CRI.

  version(signal?: AbortSignal): Promise<VersionInfo> {
    return this.call('version', '', signal, () => ({
      runtimeName: 'fake',
      runtimeVersion: '1.0.0',
      runtimeApiVersion: 'v1',
    }));
  }

  status(signal?: AbortSignal): Promise<RuntimeStatus> {
    return this.call('status', '', signal, () => ({
      conditions: [...this.conditions].map(([type, condition]) => ({ type, ...condition })),
      runtimeHandlers: ['', ...(this.options.runtimeHandlers ?? [])].map((name) => ({
        name,
        recursiveReadOnlyMounts: true,
        userNamespaces: false,
      })),
      supplementalGroupsPolicy: true,
    }));
  }

  sandboxImage(): Promise<string | undefined> {
    return this.call('status', 'sandbox image', undefined, () => this.options.sandboxImage);
  }

  runtimeConfig(): Promise<{ readonly cgroupDriver: 'cgroupfs' | 'systemd' }> {
    return this.call('runtimeConfig', '', undefined, () => ({ cgroupDriver: 'cgroupfs' as const }));
  }

  updateRuntimeConfig(podCIDR: string): Promise<void> {
    return this.call('updateRuntimeConfig', '', undefined, () => {
      this.podCIDR = podCIDR;
    });
  }

  runPodSandbox(config: PodSandboxConfig, runtimeHandler: string, signal?: AbortSignal): Promise<string> {
    const subject = podSubject(config);
    return this.call('runPodSandbox', subject, signal, () => {
      const { name, uid, namespace, attempt } = config.metadata;
      if (runtimeHandler !== '' && !this.options.runtimeHandlers?.includes(runtimeHandler)) {
        throw new CodedError('Internal', `RunPodSandbox ${subject}: no runtime for "${runtimeHandler}" is configured`);
      }
      if (config.linux.namespaceOptions.network === 'NODE' && config.hostname !== '') {
        const words = 'unable to set hostname without a private UTS namespace';
        throw new CodedError('Internal', `RunPodSandbox ${subject}: runc create failed: ${words}`);
      }
      for (const other of this.sandboxes.values()) {
        const m = other.config.metadata;
        if (m.name === name && m.uid === uid && m.namespace === namespace && m.attempt === attempt) {
          throw new CodedError(
            'AlreadyExists',
            `RunPodSandbox ${subject}: name "${name}_${namespace}_${uid}_${attempt}" is reserved for "${other.id}"`,
          );
        }
      }
      const id = this.newId('sandbox');
      this.sandboxes.set(id, {
        id,
        config,
        runtimeHandler,
        createdAt: this.clock.now(),
        state: 'READY',
        ip: config.linux.namespaceOptions.network === 'NODE' ? undefined : this.allocateAddress(),
        resources: config.linux.resources,
      });
      this.emit('created', id);
      this.emit('started', id);
      return id;
    });
  }

  stopPodSandbox(id: string): Promise<void> {
    return this.call('stopPodSandbox', this.sandboxSubject(id), undefined, () => this.stopSandbox(id));
  }

  removePodSandbox(id: string): Promise<void> {
    return this.call('removePodSandbox', this.sandboxSubject(id), undefined, () => {
      if (!this.sandboxes.has(id)) return;
      this.stopSandbox(id);
      for (const container of this.containersOf(id)) this.forget(container);
      this.sandboxes.delete(id);
      this.emit('deleted', id);
    });
  }

  podSandboxStatus(id: string): Promise<PodSandboxStatus> {
    return this.call('podSandboxStatus', this.sandboxSubject(id), undefined, () => {
      const sandbox = this.sandboxes.get(id);
      if (sandbox === undefined) throw notFound('PodSandboxStatus', 'sandbox', id);
      return {
        ...sandboxView(sandbox),
        ips: sandbox.ip === undefined ? [] : [sandbox.ip],
        namespaceOptions: sandbox.config.linux.namespaceOptions,
      };
    });
  }

  listPodSandbox(filter: ListFilter = {}): Promise<PodSandbox[]> {
    const id = filter.id ?? filter.podSandboxId;
    return this.call('listPodSandbox', '', undefined, () =>
      [...this.sandboxes.values()]
        .filter((sandbox) => matches({ id: sandbox.id, labels: sandbox.config.labels }, id, filter.labels))
        .map(sandboxView),
    );
  }

  updatePodSandboxResources(id: string, _overhead: LinuxResources, resources: LinuxResources): Promise<void> {
    return this.call('updatePodSandboxResources', this.sandboxSubject(id), undefined, () => {
      const sandbox = this.sandboxes.get(id);
      if (sandbox === undefined) throw notFound('UpdatePodSandboxResources', 'sandbox', id);
      sandbox.resources = { ...sandbox.resources, ...resources };
    });
  }

  createContainer(
    sandboxId: string,
    config: ContainerConfig,
    _sandboxConfig: PodSandboxConfig,
    signal?: AbortSignal,
  ): Promise<string> {
    const { name, attempt } = config.metadata;
    const subject = `${this.sandboxSubject(sandboxId)}/${name}`;
    return this.call('createContainer', subject, signal, () => {
      const sandbox = this.sandboxes.get(sandboxId);
      if (sandbox === undefined) throw notFound('CreateContainer', 'sandbox', sandboxId);
      if (sandbox.state !== 'READY') {
        throw new CodedError(
          'NotFound',
          `CreateContainer ${subject}: no running task found: task ${sandboxId} not found`,
        );
      }
      const twin = this.containersOf(sandboxId).find((c) => c.name === name && c.attempt === attempt);
      if (twin !== undefined) {
        throw new CodedError(
          'AlreadyExists',
          `CreateContainer ${subject}: name "${name}_${attempt}" is reserved for "${twin.id}"`,
        );
      }
      const image = this.images.find(config.image);
      if (image === undefined) {
        throw new CodedError(
          'NotFound',
          `CreateContainer ${subject}: failed to resolve image "${config.image}": not found`,
        );
      }
      const podName = sandbox.config.metadata.name;
      const program = this.programs.get(`${podName}/${name}`) ?? this.programs.get(name) ?? {};
      const container = new FakeContainer(
        {
          id: this.newId('container'),
          sandboxId,
          imageRef: image.repoDigests[0] ?? image.id,
          config,
          program: typeof program === 'function' ? program(attempt) : program,
        },
        this.clock,
        (ended) => this.onExit(ended),
      );
      this.containers.set(container.id, container);
      this.emit('created', container.id);
      return container.id;
    });
  }

  startContainer(id: string, signal?: AbortSignal): Promise<void> {
    return this.call('startContainer', this.containerSubject(id), signal, () => {
      const container = this.get('StartContainer', id);
      mustBe('StartContainer', container, 'CREATED');
      if (this.sandboxOf(container).state !== 'READY') {
        throw new CodedError(
          'Conflict',
          `StartContainer ${id}: sandbox container "${container.sandboxId}" is not running`,
        );
      }
      if (container.program.startError !== undefined) {
        const words = `failed to create containerd task: ${container.program.startError}`;
        container.failStart(words);
        this.emit('stopped', id);
        throw new CodedError('Internal', `StartContainer ${id}: ${words}`, { runtimeMessage: words });
      }
      container.start();
      this.emit('started', id);
    });
  }

  stopContainer(id: string, timeoutSeconds: number): Promise<void> {
    return this.call('stopContainer', this.containerSubject(id), undefined, async () => {
      const container = this.containers.get(id);
      if (container === undefined || container.state !== 'RUNNING') return;
      if (timeoutSeconds > 0) {
        this.signal(container, 'SIGTERM');
        container.terminate();
        if (await container.ended(timeoutSeconds * 1000)) return;
      }
      this.kill(container);
    });
  }

  removeContainer(id: string): Promise<void> {
    return this.call('removeContainer', this.containerSubject(id), undefined, () => {
      const container = this.containers.get(id);
      if (container === undefined) return;
      this.kill(container);
      this.forget(container);
    });
  }

  listContainers(filter: ListFilter = {}): Promise<Container[]> {
    return this.call('listContainers', '', undefined, () => this.select(filter).map(containerView));
  }

  containerStatus(id: string): Promise<ContainerStatus> {
    return this.call('containerStatus', this.containerSubject(id), undefined, () => {
      const container = this.get('ContainerStatus', id);
      return container.status(this.sandboxOf(container).config.logDirectory);
    });
  }

  updateContainerResources(id: string, resources: LinuxResources): Promise<void> {
    return this.call('updateContainerResources', this.containerSubject(id), undefined, () => {
      const container = this.get('UpdateContainerResources', id);
      if (container.state !== 'CREATED') mustBe('UpdateContainerResources', container, 'RUNNING');
      container.resources = { ...container.resources, ...resources };
    });
  }

  reopenContainerLog(id: string): Promise<void> {
    return this.call('reopenContainerLog', this.containerSubject(id), undefined, () => {
      const container = this.get('ReopenContainerLog', id);
      mustBe('ReopenContainerLog', container, 'RUNNING');
      const path = join(this.sandboxOf(container).config.logDirectory, container.config.logPath);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, '', { flag: 'a' });
    });
  }

  checkpointContainer(id: string, location: string, timeoutSeconds: number): Promise<void> {
    return this.call('checkpointContainer', this.containerSubject(id), undefined, () => {
      if (this.options.checkpoints !== true) {
        throw new CodedError('Unimplemented', `CheckpointContainer ${id}: method CheckpointContainer not implemented`);
      }
      mustBe('CheckpointContainer', this.get('CheckpointContainer', id), 'RUNNING');
      mkdirSync(dirname(location), { recursive: true });
      // An archive that exists is not written over; what is in it is CRIU's affair.
      writeFileSync(location, JSON.stringify({ id, timeoutSeconds }), { flag: 'wx', mode: 0o600 });
    });
  }

  execSync(id: string, command: readonly string[], timeoutSeconds: number, signal?: AbortSignal): Promise<ExecResult> {
    return this.call('execSync', this.containerSubject(id), signal, async () => {
      const container = this.get('ExecSync', id);
      mustBe('ExecSync', container, 'RUNNING');
      const answer = await this.execHandler({
        containerId: id,
        podName: this.sandboxOf(container).config.metadata.name,
        containerName: container.name,
        command,
      });
      const limitMs = timeoutSeconds > 0 ? timeoutSeconds * 1000 : Number.POSITIVE_INFINITY;
      const takesMs = answer.hang === true ? Number.POSITIVE_INFINITY : (answer.takesMs ?? 0);
      if (takesMs > 0) await this.runFor(container, Math.min(takesMs, limitMs), signal);
      if (takesMs > limitMs) {
        throw new CodedError('DeadlineExceeded', `ExecSync ${id}: timeout ${timeoutSeconds}s exceeded`);
      }
      return {
        stdout: Buffer.from(answer.stdout ?? ''),
        stderr: Buffer.from(answer.stderr ?? ''),
        exitCode: container.state === 'RUNNING' ? (answer.exitCode ?? 0) : SIGKILL_CODE,
      };
    });
  }

  exec(request: ExecRequest): Promise<string> {
    return this.streamingUrl('exec', request.containerId);
  }

  attach(request: Omit<ExecRequest, 'command'>): Promise<string> {
    return this.streamingUrl('attach', request.containerId);
  }

  portForward(sandboxId: string, _ports: readonly number[]): Promise<string> {
    return this.call('portForward', this.sandboxSubject(sandboxId), undefined, () => {
      const sandbox = this.sandboxes.get(sandboxId);
      if (sandbox === undefined) throw notFound('PortForward', 'sandbox', sandboxId);
      if (sandbox.state !== 'READY') {
        throw new CodedError('Conflict', `PortForward ${sandboxId}: sandbox container is not running`);
      }
      return this.newUrl('portforward');
    });
  }

  containerStats(id: string): Promise<ContainerStats> {
    return this.call('containerStats', this.containerSubject(id), undefined, () => {
      const container = this.get('ContainerStats', id);
      mustBe('ContainerStats', container, 'RUNNING');
      return this.statsOf(container);
    });
  }

  listContainerStats(filter: ListFilter = {}): Promise<ContainerStats[]> {
    return this.call('listContainerStats', '', undefined, () =>
      this.select(filter)
        .filter((container) => container.state === 'RUNNING')
        .map((container) => this.statsOf(container)),
    );
  }

  podSandboxStats(id: string): Promise<PodSandboxStats> {
    return this.call('podSandboxStats', this.sandboxSubject(id), undefined, () => {
      const sandbox = this.sandboxes.get(id);
      if (sandbox === undefined) throw notFound('PodSandboxStats', 'sandbox', id);
      return this.sandboxStatsOf(sandbox);
    });
  }

  listPodSandboxStats(filter: ListFilter = {}): Promise<PodSandboxStats[]> {
    const id = filter.id ?? filter.podSandboxId;
    return this.call('listPodSandboxStats', '', undefined, () =>
      [...this.sandboxes.values()]
        .filter((sandbox) => sandbox.state === 'READY')
        .filter((sandbox) => matches({ id: sandbox.id, labels: sandbox.config.labels }, id, filter.labels))
        .map((sandbox) => this.sandboxStatsOf(sandbox)),
    );
  }

  listImages(): Promise<Image[]> {
    return this.call('listImages', '', undefined, () => this.images.list());
  }

  imageStatus(image: string): Promise<Image | undefined> {
    return this.call('imageStatus', image, undefined, () => this.images.find(image));
  }

  pullImage(image: string, _sandboxConfig: PodSandboxConfig, auth?: AuthConfig, signal?: AbortSignal): Promise<string> {
    return this.call('pullImage', image, signal, () => this.images.pull(image, auth, this.clock.now()).id);
  }

  removeImage(image: string): Promise<void> {
    return this.call('removeImage', image, undefined, () => this.images.remove(image));
  }

  imageFsInfo(): Promise<{
    readonly imageFilesystems: FilesystemUsage[];
    readonly containerFilesystems: FilesystemUsage[];
  }> {
    return this.call('imageFsInfo', '', undefined, () => {
      const used = this.imageFilesystem ?? {
        atMs: this.clock.now(),
        mountpoint: '/var/lib/fake/images',
        usedBytes: this.images.list().reduce((sum, image) => sum + image.size, 0),
        inodesUsed: this.images.list().length,
      };
      return { imageFilesystems: [used], containerFilesystems: [] };
    });
  }

  watchEvents(listener: RuntimeEventListener, signal: AbortSignal): Promise<'aborted' | 'unsupported'> {
    if (this.options.events === false) return Promise.resolve('unsupported');
    return new Promise((resolve) => {
      if (signal.aborted) return resolve('aborted');
      this.listeners.add(listener);
      signal.addEventListener(
        'abort',
        () => {
          this.listeners.delete(listener);
          resolve('aborted');
        },
        { once: true },
      );
      void Promise.resolve().then(() => this.tell(listener));
    });
  }

  close(): void {
    this.closed = true;
  }

  // Inside.

  /** One call: away, latency and failures first, then its effect. */
  private async call<T>(
    operation: CriOperation,
    subject: string,
    signal: AbortSignal | undefined,
    effect: () => T | Promise<T>,
  ): Promise<T> {
    // Even the quickest answer comes later.
    await Promise.resolve();
    const { incarnation, broken } = this;
    const wanted = (): void => {
      if (signal?.aborted) throw new CodedError('Aborted', `${operation} ${subject}: given up by the caller`);
    };
    const run = async (): Promise<T> => {
      wanted();
      await this.faults.wait(operation, subject, signal).catch(wanted);
      wanted();
      if (this.options.unimplemented?.includes(operation)) {
        throw new CodedError('Unimplemented', `${operation}: unknown method`);
      }
      // What was still waiting when the runtime went away takes no effect.
      if (incarnation !== this.incarnation) return broken;
      this.faults.check(operation, subject, false);
      const result = await effect();
      this.faults.check(operation, subject, true);
      return result;
    };
    if (this.closed) throw new CodedError('Unavailable', `${operation} ${subject}: the client is closed`);
    return incarnation === undefined ? broken : Promise.race([run(), broken]);
  }

  private nextBreak(): Promise<never> {
    const broken = new Promise<never>((_, reject) => {
      this.breakCalls = () => reject(new CodedError('Unavailable', 'connect ECONNREFUSED: the fake runtime is away'));
    });
    broken.catch(() => undefined);
    return broken;
  }

  private newId(kind: string): string {
    return createHash('sha256')
      .update(`${kind} ${++this.serial}`)
      .digest('hex');
  }

  private newUrl(what: string): string {
    return `http://127.0.0.1:10010/${what}/${this.newId('token').slice(0, 8)}`;
  }

  private allocateAddress(): string {
    const used = new Set([...this.sandboxes.values()].map((sandbox) => sandbox.ip));
    for (let tried = 0; tried < 253; tried++) {
      const last = this.nextAddress;
      this.nextAddress = last >= 254 ? 2 : last + 1;
      const address = `${this.options.podPrefix ?? '10.88.0'}.${last}`;
      if (!used.has(address)) return address;
    }
    throw new CodedError('Internal', 'RunPodSandbox: no IP addresses available in range set');
  }

  private stopSandbox(id: string): void {
    const sandbox = this.sandboxes.get(id);
    if (sandbox === undefined) return;
    for (const container of this.containersOf(id)) this.kill(container);
    sandbox.ip = undefined;
    if (sandbox.state === 'READY') {
      sandbox.state = 'NOTREADY';
      this.emit('stopped', id);
    }
  }

  private kill(container: FakeContainer): void {
    if (container.state !== 'RUNNING') return;
    this.signal(container, 'SIGKILL');
    container.exit({ code: SIGKILL_CODE });
  }

  private signal(container: FakeContainer, signal: FakeSignal['signal']): void {
    this.signals.push({
      containerId: container.id,
      containerName: container.name,
      podUid: this.sandboxOf(container).config.metadata.uid,
      signal,
      atMs: this.clock.now(),
    });
  }

  private forget(container: FakeContainer): void {
    this.containers.delete(container.id);
    this.usage.delete(container.id);
    this.emit('deleted', container.id, this.sandboxOf(container).config.metadata.uid);
  }

  private onExit(container: FakeContainer): void {
    const { terminationMessage } = container.program;
    if (terminationMessage !== undefined) {
      const log = container.config.mounts.find((mount) => mount.containerPath === '/dev/termination-log');
      if (log !== undefined) writeFileSync(log.hostPath, terminationMessage);
    }
    this.emit('stopped', container.id);
  }

  /** Waits, but no longer than the container's process lives. */
  private async runFor(container: FakeContainer, ms: number, signal: AbortSignal | undefined): Promise<void> {
    let abort = (): void => undefined;
    const aborted = new Promise<never>((_, reject) => {
      abort = () => reject(new CodedError('Aborted', `ExecSync ${container.id}: given up by the caller`));
      signal?.addEventListener('abort', abort, { once: true });
    });
    const waited = Number.isFinite(ms) ? container.ended(ms) : container.ended(2 ** 31 - 1);
    await Promise.race([waited, aborted]).finally(() => signal?.removeEventListener('abort', abort));
  }

  private streamingUrl(operation: 'exec' | 'attach', id: string): Promise<string> {
    return this.call(operation, this.containerSubject(id), undefined, () => {
      mustBe(operation, this.get(operation, id), 'RUNNING');
      return this.newUrl(operation);
    });
  }

  private emit(type: RuntimeEvent['type'], id: string, uid?: string): void {
    if (this.incarnation === undefined) return;
    const container = this.containers.get(id);
    const sandbox = this.sandboxes.get(container?.sandboxId ?? id);
    const podUid = uid ?? sandbox?.config.metadata.uid;
    const event: RuntimeEvent = { type, id, ...(podUid === undefined ? {} : { podUid }), atMs: this.clock.now() };
    for (const listener of this.listeners) {
      void Promise.resolve().then(() => {
        if (this.listeners.has(listener)) listener.onEvent(event);
      });
    }
  }

  private tell(listener: RuntimeEventListener): void {
    if (this.listeners.has(listener) && this.incarnation !== undefined) listener.onGap();
  }

  private containersOf(sandboxId: string): FakeContainer[] {
    return [...this.containers.values()].filter((container) => container.sandboxId === sandboxId);
  }

  private select(filter: ListFilter): FakeContainer[] {
    return [...this.containers.values()].filter(
      (container) =>
        (filter.podSandboxId === undefined || container.sandboxId === filter.podSandboxId) &&
        matches({ id: container.id, labels: container.config.labels }, filter.id, filter.labels),
    );
  }

  private statsOf(container: FakeContainer): ContainerStats {
    const usage = this.usage.get(container.id);
    const atMs = this.clock.now();
    return {
      id: container.id,
      metadata: { ...container.config.metadata },
      labels: container.config.labels,
      annotations: container.config.annotations,
      cpu: { atMs, usageCoreNanoSeconds: 0, ...usage?.cpu },
      memory: { atMs, workingSetBytes: 0, ...usage?.memory },
      writableLayer: { atMs, mountpoint: '/var/lib/fake/images', usedBytes: 0, inodesUsed: 0 },
    };
  }

  private sandboxStatsOf(sandbox: FakeSandbox): PodSandboxStats {
    const running = this.containersOf(sandbox.id).filter((container) => container.state === 'RUNNING');
    const stats = running.map((container) => this.statsOf(container));
    const atMs = this.clock.now();
    const cpu = stats.reduce((sum, { cpu }) => sum + (cpu?.usageCoreNanoSeconds ?? 0), 0);
    const memory = stats.reduce((sum, { memory }) => sum + (memory?.workingSetBytes ?? 0), 0);
    return {
      id: sandbox.id,
      metadata: sandbox.config.metadata,
      labels: sandbox.config.labels,
      cpu: { atMs, usageCoreNanoSeconds: cpu },
      memory: { atMs, workingSetBytes: memory },
      processCount: running.length + 1,
    };
  }

  private sandboxOf(container: FakeContainer): FakeSandbox {
    const sandbox = this.sandboxes.get(container.sandboxId);
    if (sandbox === undefined) throw new Error(`container ${container.id} has outlived its sandbox`);
    return sandbox;
  }

  private get(operation: string, id: string): FakeContainer {
    const container = this.containers.get(id);
    if (container === undefined) throw notFound(operation, 'container', id);
    return container;
  }

  private mustFind(id: string): FakeContainer {
    const container = this.containers.get(id);
    if (container === undefined) throw new Error(`no container ${id}`);
    return container;
  }

  private sandboxSubject(id: string): string {
    const sandbox = this.sandboxes.get(id);
    return sandbox === undefined ? id : podSubject(sandbox.config);
  }

  private containerSubject(id: string): string {
    const container = this.containers.get(id);
    return container === undefined ? id : `${this.sandboxSubject(container.sandboxId)}/${container.name}`;
  }
}

function podSubject(config: PodSandboxConfig): string {
  return `${config.metadata.namespace}/${config.metadata.name}`;
}

function notFound(operation: string, kind: string, id: string): CodedError {
  return new CodedError(
    'NotFound',
    `${operation} ${id}: an error occurred when try to find ${kind} "${id}": not found`,
  );
}

function mustBe(operation: string, container: FakeContainer, state: 'CREATED' | 'RUNNING'): void {
  if (container.state === state) return;
  throw new CodedError('Conflict', `${operation} ${container.id}: container is in CONTAINER_${container.state} state`);
}

/** An id may be shortened as long as the runtime can tell which is meant; an empty one matches all. */
function matches(item: { id: string; labels: Labels }, id: string | undefined, labels: Labels | undefined): boolean {
  if (id !== undefined && id !== '' && !item.id.startsWith(id)) return false;
  return Object.entries(labels ?? {}).every(([key, value]) => item.labels[key] === value);
}

function sandboxView(sandbox: FakeSandbox): PodSandbox {
  return {
    id: sandbox.id,
    metadata: { ...sandbox.config.metadata },
    state: sandbox.state,
    createdAt: sandbox.createdAt,
    labels: sandbox.config.labels,
    annotations: sandbox.config.annotations,
    runtimeHandler: sandbox.runtimeHandler,
  };
}

function containerView(container: FakeContainer): Container {
  return {
    id: container.id,
    podSandboxId: container.sandboxId,
    metadata: { ...container.config.metadata },
    image: container.config.userSpecifiedImage || container.config.image,
    imageRef: container.imageRef,
    state: container.state,
    createdAt: container.createdAt,
    labels: container.config.labels,
    annotations: container.config.annotations,
  };
}
