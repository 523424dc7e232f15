import type { EventRecorder, PodStatusWriter } from '../../cluster/port.ts';
import type { CriRuntime, DNSConfig, IdMapping, PodSandboxConfig } from '../../host/cri/port.ts';
import type { DeviceGrant } from '../../host/devices/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Container, Pod } from '../../model/pod.ts';
import { type ContainerKind, findContainer } from '../container-kinds.ts';
import { MINIMUM_STOP_SECONDS } from '../diff/kill.ts';
import type { Step } from '../diff/step.ts';
import { environmentRecord } from '../environment/resolve-environment.ts';
import { podText } from '../identity.ts';
import type { ImagePuller } from '../images/image-puller.ts';
import { newestContainer, type PodRuntime } from '../observe/pod-runtime.ts';
import type { RuntimeCache } from '../observe/runtime-cache.ts';
import type { PodMetrics } from '../pod-metrics.ts';
import type { PodState } from '../pod-state.ts';
import type { HookRunner, HookTarget } from '../probes/hook-runner.ts';
import { effectiveResources, type ResizeGates } from '../resize/allocation.ts';
import type { ResizeActuator } from '../resize/resize-actuator.ts';
import { withActuated } from '../resize/resize-plan.ts';
import type { ResourceState } from '../resize/resource-state.ts';
import { containerSecurity, type SecurityOptions } from '../security/container-security.ts';
import { verifyRunAsNonRoot } from '../security/run-as-non-root.ts';
import { StepError, withReason } from '../step-error.ts';
import { containerConfig, withIdMapping } from './container-config.ts';
import { withDeviceGrant } from './device-grant.ts';
import { lateAbort } from './late-abort.ts';
import type { PodParts } from './pod-parts.ts';
import { containerReference } from './references.ts';
import { sandboxConfig } from './sandbox-config.ts';
import { refuseUnsupported } from './unsupported.ts';
import { withVolumeImages } from './volume-images.ts';

export interface ExecutorOptions {
  readonly podLogsDir: string;
  readonly clusterDomain: string;
  readonly security: SecurityOptions;
  readonly maxCrashBackoffMs: number;
}

export interface ExecutorDeps {
  readonly cri: CriRuntime;
  readonly runtime: RuntimeCache;
  readonly parts: PodParts;
  readonly images: ImagePuller;
  readonly hooks: Pick<HookRunner, 'run'>;
  readonly events: EventRecorder;
  readonly statuses: Pick<PodStatusWriter, 'finalize'>;
  /** Resolver configuration of a pod, with what its user should know of it. */
  readonly dns: (pod: Pod) => {
    readonly config: DNSConfig;
    readonly warnings: readonly { readonly reason: string; readonly message: string }[];
  };
  /** The runtime's name for how the pod is run; "" is its default. */
  readonly runtimeHandler: (pod: Pod, signal: AbortSignal) => Promise<string>;
  /** What a container's devices bring, made ready by their plugins; by default there are none. */
  readonly grantFor?: (pod: Pod, container: Container) => Promise<DeviceGrant | undefined>;
  readonly metrics: PodMetrics;
  readonly clock: Clock;
  readonly log: Logger;
  /** Resolves when this node's Services no longer send connections to a pod that is being ended; never rejects. */
  readonly endpointsLeft: () => Promise<void>;
  /** Brings granted resources into force; undefined where nothing resizes pods. */
  readonly resizes?: {
    /** What is in force is written down here. */
    readonly actuated: Pick<ResourceState, 'get' | 'setContainer' | 'setPodLevel'>;
    readonly actuator: Pick<ResizeActuator, 'resize'>;
    readonly gates: ResizeGates;
  };
  /** Plans the pod anew: a hook has ended. */
  readonly again: (uid: string) => void;
}

/** kubelet's values of the label container_type. */
const METRIC_KIND: Readonly<Record<ContainerKind, string>> = {
  init: 'init_container',
  sidecar: 'init_container',
  app: 'container',
  ephemeral: 'ephemeral_container',
};

/** A sandbox that is being made when its pod must end is waited for; only one that hangs is given up. */
const SANDBOX_PATIENCE_MS = 10_000;

type Executors = {
  readonly [K in Step['do']]: (step: Extract<Step, { do: K }>, state: PodState) => Promise<void> | void;
};

/** Does what steps say, one method per kind of step. What cannot be done throws; the loop remembers and retries. */
export class StepExecutor {
  private readonly options: ExecutorOptions;
  private readonly deps: ExecutorDeps;

  constructor(options: ExecutorOptions, deps: ExecutorDeps) {
    this.options = options;
    this.deps = deps;
  }

  execute(step: Step, state: PodState): Promise<void> | void {
    // The table is exhaustive by type; the union's members and their executors belong together by key.
    const run = this.executors[step.do] as (step: Step, state: PodState) => Promise<void> | void;
    return run(step, state);
  }

  private readonly executors: Executors = {
    prepare: (_step, state) => this.prepare(state),
    ensureCgroup: (_step, state) => this.ensureCgroup(state),
    resizePod: (step, state) => this.resizePod(step, state),
    createSandbox: (step, state) => this.createSandbox(step.attempt, state),
    stopSandbox: (step, state) => this.stopSandbox(step.id, state),
    removeSandbox: (step, state) => this.removeSandbox(step.id, state),
    ensureImage: (step, state) => this.ensureImage(step.container, state),
    startContainer: (step, state) => this.startContainer(step, state),
    beginKill: (step, state) => this.beginKill(step, state),
    shortenKill: (step, state) => state.killChanged(step.id, { deadline: step.deadline }),
    stopContainer: (step, state) => this.stopContainer(step, state),
    removeContainer: (step, state) => this.removeContainer(step, state),
    endPod: (step, state) => {
      state.end = step.end;
      this.deps.events.event(containerReference(state.pod), 'Normal', step.end.reason, step.end.message);
    },
    unmountVolumes: async (_step, state) => {
      this.deps.parts.release(state.identity.uid);
      await this.deps.parts.tearDownVolumes(state.identity.uid);
      state.volumesGone = true;
      state.prepared = false;
    },
    removeCgroup: async (_step, state) => {
      await this.deps.parts.removeCgroup(state.identity.uid);
      state.cgroupGone = true;
      state.cgroupReady = false;
    },
    finalize: (_step, state) => {
      state.finalized = true;
      this.deps.statuses.finalize(state.identity);
    },
    cleanUp: async (_step, state) => {
      await this.deps.parts.removeLogDirectory(state.identity);
      state.cleanedUp = true;
    },
  };

  // ── host and sandbox ──────────────────────────────────────────────────────────────────────────────────────────────

  private async prepare(state: PodState): Promise<void> {
    const { parts } = this.deps;
    const { signal } = state.starting;
    await Promise.all([
      withReason('FailedMount', () => parts.setUpVolumes(state.pod, signal)),
      withReason('FailedCreatePodContainer', () => parts.makeLogDirectory(state.identity)),
    ]);
    signal.throwIfAborted();
    state.prepared = true;
    // The first look at them after this one tells when a token wants renewal, or a volume has been made larger.
    if (hasToken(state.pod) || hasClaim(state.pod)) state.volumesStale = true;
  }

  private async ensureCgroup(state: PodState): Promise<void> {
    const { resizes, parts } = this.deps;
    const { pod, identity } = state;
    const actuated = resizes?.actuated.get(identity.uid);
    // A resize that an earlier process has begun goes on from where it was, in its order.
    const inForce = actuated === undefined || resizes === undefined ? pod : withActuated(pod, actuated, resizes.gates);
    await withReason('FailedCreatePodContainer', () => parts.ensureCgroup(inForce));
    if (pod.spec.resources !== undefined && actuated?.pod === undefined) {
      resizes?.actuated.setPodLevel(identity.uid, pod.spec.resources);
    }
    state.cgroupReady = true;
  }

  private async resizePod({ sandboxId, plan }: Extract<Step, { do: 'resizePod' }>, state: PodState): Promise<void> {
    const { resizes, runtime } = this.deps;
    try {
      await resizes?.actuator.resize(state.pod, sandboxId, plan);
    } finally {
      // Also after a failure half-way: what the runtime says of its containers is what the status tells.
      const ids = new Set([...plan.memory, ...plan.cpu].map(({ id }) => id));
      for (const id of ids) await runtime.refreshContainer(state.identity, sandboxId, id).catch(() => {});
    }
  }

  private async createSandbox(attempt: number, state: PodState): Promise<void> {
    const { cri, runtime, events } = this.deps;
    const { pod, identity } = state;
    if (attempt > 0) {
      events.event(
        containerReference(pod),
        'Normal',
        'SandboxChanged',
        'Pod sandbox changed, it will be killed and re-created.',
      );
    }
    for (const { reason, message } of this.deps.dns(pod).warnings) {
      events.event(containerReference(pod), 'Warning', reason, message);
    }
    // Cut off at once, a runtime goes on in the background for a while, and leaves shims and cgroups that nobody knows.
    const patience = lateAbort(state.starting.signal, SANDBOX_PATIENCE_MS, this.deps.clock);
    const { metrics } = this.deps;
    const namespaced = pod.spec.hostUsers === false;
    await withReason('FailedCreatePodSandBox', async () => {
      try {
        const handler = await this.deps.runtimeHandler(pod, state.starting.signal);
        const userMapping = await this.deps.parts.userMapping(pod, handler);
        const id = await cri.runPodSandbox(this.sandboxConfig(state, attempt, userMapping), handler, patience.signal);
        metrics.startedPods.inc();
        if (namespaced) metrics.startedUserNamespacedPods.inc();
        await runtime.refreshSandbox(identity, id);
      } catch (error) {
        metrics.startedPodErrors.inc();
        if (namespaced) metrics.startedUserNamespacedPodErrors.inc();
        // Cut off or failed half-way, the runtime may have made a sandbox all the same.
        await runtime.refreshPod(identity).catch(() => {});
        throw error;
      } finally {
        patience.release();
      }
    });
  }

  private sandboxConfig(state: PodState, attempt: number, userMapping?: IdMapping): PodSandboxConfig {
    return sandboxConfig(state.pod, {
      attempt,
      userMapping,
      cgroupParent: this.deps.parts.cgroupParent(state.pod),
      podLogsDir: this.options.podLogsDir,
      clusterDomain: this.options.clusterDomain,
      dns: this.deps.dns(state.pod).config,
      extraGroups: this.deps.parts.extraGroups(state.pod),
      resources: this.deps.parts.sandboxResources(state.pod),
    });
  }

  private async stopSandbox(id: string, state: PodState): Promise<void> {
    await withReason('FailedKillPod', async () => {
      await ignoreGone(this.deps.cri.stopPodSandbox(id));
      await this.deps.runtime.refreshSandbox(state.identity, id);
    });
    state.stoppedSandboxes.add(id);
  }

  private async removeSandbox(id: string, state: PodState): Promise<void> {
    const { runtime, cri } = this.deps;
    await ignoreGone(cri.removePodSandbox(id));
    for (const container of runtime.get(state.identity.uid)?.containers ?? []) {
      if (container.sandboxId !== id) continue;
      runtime.drop(container.id);
      state.containerGone(container.id);
    }
    runtime.drop(id);
    state.stoppedSandboxes.delete(id);
  }

  // ── starting a container ──────────────────────────────────────────────────────────────────────────────────────────

  private async ensureImage(name: string, state: PodState): Promise<void> {
    const { container } = this.find(state.pod, name);
    const config = await withReason('FailedCreatePodSandBox', async () => this.sandboxConfig(state, 0));
    // The pod may ask for another image by the time that this one is there, or has failed.
    const stillWanted = (): boolean => this.find(state.pod, name).container.image === container.image;
    try {
      const { ref, image } = await this.deps.images.ensure(state.pod, container, config, state.starting.signal);
      if (stillWanted()) state.imageReady(name, ref, image);
    } catch (error) {
      if (stillWanted()) throw error;
    }
  }

  private async startContainer(step: Extract<Step, { do: 'startContainer' }>, state: PodState): Promise<void> {
    const { metrics } = this.deps;
    const { container, kind } = this.find(state.pod, step.container);
    try {
      await this.createAndStart(step, state, container);
      metrics.imageVolumes(state.pod, container);
      metrics.startedContainers.inc({ container_type: METRIC_KIND[kind] });
      if (step.restartCount > 0) metrics.restartedContainers.inc();
    } catch (error) {
      const code = error instanceof StepError ? error.reason : 'Unknown';
      metrics.imageVolumes(state.pod, container, error);
      metrics.startedContainerErrors.inc({ container_type: METRIC_KIND[kind], code });
      throw error;
    }
  }

  private async createAndStart(
    step: Extract<Step, { do: 'startContainer' }>,
    state: PodState,
    container: Container,
  ): Promise<void> {
    const { events, clock } = this.deps;
    const { pod } = state;
    const reference = containerReference(pod, container.name);
    const before = newestContainer(this.runtimeOf(state), container.name);
    const id = step.createdId ?? (await this.create(step, state, container));
    if (step.createdId === undefined) {
      events.event(reference, 'Normal', 'Created', 'Container created');
    }
    if (before !== undefined && before.state === 'EXITED') {
      state.restarting(container.name, before.finishedAt, clock.now(), this.options.maxCrashBackoffMs);
    }
    const postStart = container.lifecycle?.postStart;
    state.starts(container.name, id);
    try {
      await withReason('RunContainerError', () => this.startCreated(id, step.sandboxId, state));
      events.event(reference, 'Normal', 'Started', 'Container started');
      await this.deps.parts.linkContainerLog(state.identity, container.name, step.restartCount, id);
      if (postStart !== undefined) await this.postStart(state, container, id);
      state.started(container.name);
    } catch (error) {
      // One whose hook has failed never counts as started; it is being killed.
      if (!state.kills.has(id) || state.ending) state.started(container.name);
      throw error;
    }
  }

  private async startCreated(id: string, sandboxId: string, state: PodState): Promise<void> {
    const { cri, runtime } = this.deps;
    try {
      await cri.startContainer(id);
      await runtime.refreshContainer(state.identity, sandboxId, id);
    } catch (error) {
      await runtime.refreshContainer(state.identity, sandboxId, id).catch(() => {});
      // What runs has been started, and only the answer was lost.
      if (!this.runs(id, state)) throw error;
    }
  }

  private async create(
    step: Extract<Step, { do: 'startContainer' }>,
    state: PodState,
    container: Container,
  ): Promise<string> {
    const { cri, parts, grantFor = async () => undefined } = this.deps;
    const { pod } = state;
    const runtime = this.runtimeOf(state);
    const sandbox = runtime.sandboxes.find(({ id }) => id === step.sandboxId);
    const podIPs = sandbox?.ips ?? [];
    const userMapping = await this.userMapping(state);
    const config = await withReason('CreateContainerConfigError', async () => {
      const image = state.images.get(container.name);
      if (image === undefined) throw new CodedError('Internal', `image of container ${container.name} is not known`);
      refuseUnsupported(container);
      verifyRunAsNonRoot(pod, container, image);
      const environment = await parts.environment(pod, container, podIPs, state.starting.signal);
      const mounts = await withVolumeImages(
        this.deps.images,
        await parts.mounts(pod, container, step.restartCount, podIPs, environmentRecord(environment)),
        { pod, container, sandbox: this.sandboxConfig(state, sandbox?.attempt ?? 0) },
        state.starting.signal,
      );
      const targetId = targetIdOf(container, runtime);
      return containerConfig(pod, container, {
        restartCount: step.restartCount,
        imageRef: step.imageRef,
        environment,
        mounts,
        devices: await parts.devices(pod, container),
        resources: parts.containerResources(pod, container),
        security: containerSecurity(pod, container, image, {
          ...this.options.security,
          extraGroups: parts.extraGroups(pod),
          ...(targetId === undefined ? {} : { targetId }),
          ...(userMapping === undefined ? {} : { userMapping }),
        }),
      });
    });
    const grant = await withReason('CreateContainerConfigError', () => grantFor(pod, container));
    return withReason('CreateContainerError', async () => {
      const sandboxConfigNow = this.sandboxConfig(state, sandbox?.attempt ?? 0, userMapping);
      this.deps.resizes?.actuated.setContainer(state.identity.uid, container.name, effectiveResources(pod, container));
      try {
        return await cri.createContainer(
          step.sandboxId,
          withIdMapping(withDeviceGrant(config, grant)),
          sandboxConfigNow,
        );
      } catch (error) {
        state.imageUnsure(container.name);
        await this.deps.runtime.refreshPod(state.identity).catch(() => {});
        throw error;
      }
    });
  }

  /** What the sandbox was made with. */
  private async userMapping({ pod, starting }: PodState): Promise<IdMapping | undefined> {
    if (pod.spec.hostUsers !== false) return undefined;
    return withReason('CreateContainerConfigError', async () => {
      const handler = await this.deps.runtimeHandler(pod, starting.signal);
      return this.deps.parts.userMapping(pod, handler);
    });
  }

  private async postStart(state: PodState, container: Container, id: string): Promise<void> {
    const { hooks, events } = this.deps;
    const handler = container.lifecycle?.postStart;
    if (handler === undefined) return;
    try {
      await hooks.run(handler, this.hookTarget(state, container, id), state.starting.signal);
    } catch (error) {
      if (state.starting.signal.aborted) throw error;
      events.event(
        containerReference(state.pod, container.name),
        'Warning',
        'FailedPostStartHook',
        'PostStartHook failed',
      );
      if (!state.kills.has(id)) {
        this.beginKill(
          {
            do: 'beginKill',
            container: container.name,
            id,
            graceSeconds: state.pod.spec.terminationGracePeriodSeconds ?? 30,
            message: 'FailedPostStartHook',
            runPreStop: true,
          },
          state,
        );
      }
      throw new StepError('PostStartHookError', messageOf(error), 'CommandFailed', error);
    }
  }

  // ── stopping a container ──────────────────────────────────────────────────────────────────────────────────────────

  private beginKill(step: Extract<Step, { do: 'beginKill' }>, state: PodState): void {
    const { events, clock } = this.deps;
    const entry = findContainer(state.pod, step.container);
    const handler = step.runPreStop ? entry?.container.lifecycle?.preStop : undefined;
    state.killBegun(step.id, clock.now(), step.graceSeconds, handler !== undefined);
    events.event(containerReference(state.pod, step.container), 'Normal', 'Killing', step.message);
    if (handler === undefined || entry === undefined) return;
    const key = `preStop/${step.id}`;
    state.running.add(key);
    const graceMs = Math.max(1, step.graceSeconds) * 1000;
    const patience = new AbortController();
    const timer = clock.after(graceMs, () =>
      patience.abort(new CodedError('DeadlineExceeded', `preStop hook took longer than ${graceMs} ms`)),
    );
    void this.deps.hooks
      .run(handler, this.hookTarget(state, entry.container, step.id), patience.signal)
      .catch((error: unknown) => {
        const about = containerReference(state.pod, step.container);
        events.event(about, 'Warning', 'FailedPreStopHook', 'PreStopHook failed');
        this.deps.log.warn(
          { pod: podText(state.identity), container: step.container, error: messageOf(error) },
          'a preStop hook failed',
        );
      })
      .finally(() => {
        timer.cancel();
        state.running.delete(key);
        state.killChanged(step.id, { preStopDone: true });
        this.deps.again(state.identity.uid);
      });
  }

  private async stopContainer(step: Extract<Step, { do: 'stopContainer' }>, state: PodState): Promise<void> {
    const { cri, runtime } = this.deps;
    state.killChanged(step.id, { stopSentFor: step.deadline });
    const record = this.runtimeOf(state).containers.find(({ id }) => id === step.id);
    const timeout = Math.max(step.timeoutSeconds, Math.min(1, MINIMUM_STOP_SECONDS));
    // The pod's end has been told already; who gets SIGTERM must not get new connections from this node after it.
    if (state.intent === 'delete') await this.deps.endpointsLeft();
    await withReason('FailedKillPod', async () => {
      await ignoreGone(cri.stopContainer(step.id, timeout));
      if (record !== undefined) await runtime.refreshContainer(state.identity, record.sandboxId, step.id);
      // Said to be stopped and running all the same, it is stopped again, but not at once and without end.
      if (this.runs(step.id, state)) {
        throw new CodedError('Internal', `container ${step.container} still runs after the runtime stopped it`);
      }
    });
  }

  private runs(id: string, state: PodState): boolean {
    const record = this.runtimeOf(state).containers.find((container) => container.id === id);
    return record?.state === 'RUNNING' || record?.state === 'UNKNOWN';
  }

  private async removeContainer(step: Extract<Step, { do: 'removeContainer' }>, state: PodState): Promise<void> {
    const { id } = step;
    const record = this.runtimeOf(state).containers.find((container) => container.id === id);
    await ignoreGone(this.deps.cri.removeContainer(id));
    this.deps.runtime.drop(id);
    state.containerGone(id);
    if (record !== undefined && step.keepLog !== true) {
      await this.deps.parts.removeContainerLog(state.identity, record.name, record.restartCount, id);
    }
  }

  private hookTarget(state: PodState, container: Container, containerId: string): HookTarget {
    const podIP = this.runtimeOf(state).sandboxes[0]?.ips[0];
    return { pod: state.pod, container, containerId, podIP };
  }

  private runtimeOf(state: PodState): PodRuntime {
    return this.deps.runtime.get(state.identity.uid) ?? { ...state.identity, sandboxes: [], containers: [] };
  }

  private find(pod: Pod, name: string): { kind: ContainerKind; container: Container } {
    const entry = findContainer(pod, name);
    if (entry === undefined) throw new CodedError('Internal', `the pod has no container ${name}`);
    return entry;
  }
}

/** The container whose processes an ephemeral one wants to see; it has to be there first (kuberuntime getTargetID). */
function targetIdOf({ targetContainerName: target }: Container, runtime: PodRuntime): string | undefined {
  if (target === undefined || target === '') return undefined;
  const id = newestContainer(runtime, target)?.id;
  if (id === undefined) throw new CodedError('NotFound', `unable to find target container ${target}`, { target });
  return id;
}

function hasToken(pod: Pod): boolean {
  return (pod.spec.volumes ?? []).some(
    ({ projected }) => projected?.sources?.some((source) => source.serviceAccountToken !== undefined) === true,
  );
}

function hasClaim(pod: Pod): boolean {
  return (pod.spec.volumes ?? []).some(
    ({ persistentVolumeClaim, ephemeral, csi }) => (persistentVolumeClaim ?? ephemeral ?? csi) !== undefined,
  );
}

async function ignoreGone(request: Promise<void>): Promise<void> {
  try {
    await request;
  } catch (error) {
    if (!hasCode(error, 'NotFound')) throw error;
  }
}
