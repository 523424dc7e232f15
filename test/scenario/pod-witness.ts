import type { FakeContainer } from '../../src/host/cri/fake-container.ts';
import type { ContainerState, ContainerStatus, PodStatus } from '../../src/model/pod.ts';
import type { ContainerPlan, Happening, History, PodPlan } from './pod-history.ts';
import { programOf, specOf } from './pod-history.ts';
import { PodWorld } from './pod-world.ts';

/** Why a container may be stopped, and from when on. */
interface Excuse {
  /** By UID. */
  readonly pod: string;
  /** undefined: each of the pod. */
  readonly container?: string;
  readonly fromMs: number;
}

export interface LivingPod {
  readonly plan: PodPlan;
  readonly uid: string;
  readonly bornAt: number;
  deleted: boolean;
  forced: boolean;
  /** The shortest grace that any deletion gave. */
  grace: number;
  /** Its sandbox was killed, or the node went down. */
  disturbed: boolean;
  /** Some container's image was changed. */
  changed: Set<string>;
}

/**
 * Lives a history in a PodWorld and watches: everything that must hold at every moment is checked whenever the runtime
 * or a status changes, and every breach is noted in `breaches`.
 */
export class PodWitness {
  readonly world: PodWorld;
  readonly breaches: string[] = [];
  readonly pods: LivingPod[] = [];
  /** Containers that were made, by "UID/container". */
  readonly made = new Map<string, number>();
  /** Those of them that were started. */
  readonly ran = new Map<string, number>();
  readonly history: History;
  private readonly excuses: Excuse[] = [];
  /** Pods of which someone removed a container. */
  readonly removed = new Set<string>();
  private readonly sick = new Map<string, number>();
  /** Pods that are made again under their name as soon as they are gone, by UID. */
  private readonly reborn = new Set<string>();
  private readonly seen = new Map<string, PodStatus>();
  private patched = 0;

  constructor(history: History) {
    this.history = history;
    this.world = new PodWorld({
      exitLagMs: history.exitLagMs,
      statusLagMs: history.statusLagMs,
      deaf: !history.events,
      maxCrashBackoffMs: 20_000,
    });
  }

  async live(): Promise<void> {
    const { world, history } = this;
    this.watch();
    world.cri.addImage('app:1');
    world.cri.addImage('app:2');
    world.cri.publishImage('pulled:1');
    await world.start();
    for (const plan of history.pods) this.begin(plan);
    for (const { afterMs, what } of history.happenings) {
      await this.pass(afterMs);
      await this.happen(what);
    }
  }

  /** Lets time pass in small steps, so that statuses are looked at as they come. */
  async pass(ms: number): Promise<void> {
    const end = this.world.clock.now() + ms;
    do {
      const step = Math.min(end - this.world.clock.now(), 1000);
      await this.world.pass(step);
      this.lookAtStatuses();
      // The runtime tells nothing while it is away.
      this.excuseSidecars();
    } while (this.world.clock.now() < end && this.world.hot === undefined);
    if (this.world.hot !== undefined) this.breach(`endless loop: ${this.world.hot}`);
  }

  breach(what: string): void {
    const at = this.world.clock.now() - Date.UTC(2026, 0, 1);
    if (this.breaches.length < 20) this.breaches.push(`${at} ms: ${what}`);
  }

  /** What must be true of every signal that a container ever got. */
  lookAtSignals(): void {
    const terms = new Set<string>();
    for (const { containerId, containerName, podUid, signal, atMs } of this.world.cri.signals) {
      const pod = this.pods.find(({ uid }) => uid === podUid);
      if (pod === undefined) continue;
      const about = `${pod.plan.name}/${containerName}`;
      const at = atMs - Date.UTC(2026, 0, 1);
      const from = this.excusedFrom(pod, containerName);
      if (from === undefined || from > atMs) {
        this.breach(`${about} got ${signal} at ${at} ms although nothing was wrong with it`);
        continue;
      }
      if (signal === 'SIGTERM') {
        terms.add(containerId);
        continue;
      }
      if (!terms.has(containerId)) this.breach(`${about} got SIGKILL at ${at} ms without SIGTERM`);
      const grace = Math.max(1, Math.min(pod.grace, pod.plan.grace)) * 1000;
      if (atMs - from < grace) this.breach(`${about} got SIGKILL at ${at} ms, ${atMs - from} ms after its end began`);
    }
  }

  containers(pod: LivingPod, name: string): FakeContainer[] {
    return this.world.cri
      .containersNamed(pod.plan.name, name)
      .filter(({ config }) => config.labels['io.kubernetes.pod.uid'] === pod.uid);
  }

  private begin(plan: PodPlan): void {
    const { world } = this;
    for (const container of plan.containers) {
      world.cri.program(`${plan.name}/${container.name}`, programOf(container));
    }
    world.applyRaw(plan.name, specOf(plan));
    const uid = world.pods.get(`ns/${plan.name}`)?.metadata.uid ?? '';
    for (const { name, postStart } of plan.containers) {
      if (postStart !== undefined) this.excuses.push({ pod: uid, container: name, fromMs: 0 });
    }
    const bornAt = world.clock.now();
    if (plan.deadline !== undefined) {
      // A restarted agent knows the start by status.startTime, in whole seconds.
      const from = Math.floor(bornAt / 1000) * 1000;
      this.excuses.push({ pod: uid, fromMs: from + plan.deadline * 1000 });
    }
    this.pods.push({
      plan,
      uid,
      bornAt,
      deleted: false,
      forced: false,
      grace: plan.grace,
      disturbed: false,
      changed: new Set(),
    });
  }

  private watch(): void {
    const { world } = this;
    world.cri.setExec(({ containerId, containerName, command }) => {
      const what = command[0] ?? '';
      const pod = this.pods.find((one) => this.containers(one, containerName).some(({ id }) => id === containerId));
      const plan = pod?.plan.containers.find(({ name }) => name === containerName);
      if (what === 'postStart' || what === 'preStop') {
        const hook = plan?.[what];
        return { takesMs: hook?.takesMs ?? 0, exitCode: hook?.fails === true ? 1 : 0 };
      }
      return { exitCode: this.isSick(`${pod?.uid}/${containerName}/${what}`) ? 1 : 0 };
    });
    void world.cri.watchEvents(
      {
        onGap: () => {},
        onEvent: ({ type, id }) => {
          if (type === 'created') this.count(this.made, id);
          if (type === 'started') this.count(this.ran, id);
          if (type === 'stopped') this.excuseSidecars();
          if (type === 'started') this.lookAtContainers();
        },
      },
      new AbortController().signal,
    );
    world.pods.subscribe(({ previous, current }) => {
      this.lookAtStatuses();
      const pod = this.pods.find(({ uid }) => uid === previous?.metadata.uid);
      if (current !== undefined || pod === undefined || !this.reborn.delete(pod.uid)) return;
      world.clock.after(0, () => this.begin(pod.plan));
    });
  }

  private isSick(key: string): boolean {
    return this.world.clock.now() < (this.sick.get(key) ?? 0);
  }

  private count(counts: Map<string, number>, id: string): void {
    for (const pod of this.pods) {
      for (const { name } of pod.plan.containers) {
        if (!this.containers(pod, name).some((container) => container.id === id)) continue;
        const key = `${pod.uid}/${name}`;
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    }
  }

  /** Once a container of a pod that does not restart it has ended, sidecars may have to go. */
  private excuseSidecars(): void {
    for (const pod of this.pods) {
      const { plan } = pod;
      if (plan.restartPolicy === 'Always') continue;
      const ended = plan.containers
        .filter(({ kind }) => kind !== 'sidecar')
        .flatMap(({ name }) => this.containers(pod, name).filter(({ state }) => state === 'EXITED'));
      if (ended.length === 0) continue;
      const fromMs = Math.min(...ended.map(({ finishedAt }) => finishedAt));
      for (const { name, kind } of plan.containers) {
        if (kind === 'sidecar') this.excuses.push({ pod: pod.uid, container: name, fromMs });
      }
    }
  }

  private excusedFrom(pod: LivingPod, container: string): number | undefined {
    let from: number | undefined;
    for (const excuse of this.excuses) {
      if (excuse.pod !== pod.uid) continue;
      if (excuse.container !== undefined && excuse.container !== container) continue;
      if (from === undefined || excuse.fromMs < from) from = excuse.fromMs;
    }
    return from;
  }

  // ── happenings ────────────────────────────────────────────────────────────────────────────────────────────────────

  private async happen(what: Happening): Promise<void> {
    const { world } = this;
    const now = world.clock.now();
    switch (what.type) {
      case 'exit': {
        const [pod, container] = this.pick(what);
        const running = this.containers(pod, container.name).find(({ state }) => state === 'RUNNING');
        if (running !== undefined) world.cri.exit(running.id, what.code);
        return;
      }
      case 'killSandbox': {
        const pod = this.pickPod(what.pod);
        const sandbox = world.cri.sandbox(pod.plan.name);
        if (sandbox === undefined) return;
        pod.disturbed = true;
        this.excuses.push({ pod: pod.uid, fromMs: now });
        world.cri.killSandbox(sandbox.id);
        return;
      }
      case 'runtimeAway':
        // A postStart hook that cannot be run is a failed one.
        world.cri.stopRuntime();
        world.clock.after(what.forMs, () => world.cri.startRuntime());
        return;
      case 'agentAway':
        await world.stop();
        await this.pass(what.forMs);
        await world.start();
        return;
      case 'reboot':
        await world.stop();
        for (const pod of this.pods) {
          pod.disturbed = true;
          this.excuses.push({ pod: pod.uid, fromMs: now });
        }
        world.cri.rebootNode();
        await world.start();
        return;
      case 'delete': {
        const pod = this.pickPod(what.pod);
        if (world.pods.get(`ns/${pod.plan.name}`) === undefined) return;
        pod.deleted = true;
        pod.grace = Math.min(pod.grace, what.grace);
        this.excuses.push({ pod: pod.uid, fromMs: now });
        world.delete(pod.plan.name, what.grace);
        return;
      }
      case 'forceDelete': {
        const pod = this.pickPod(what.pod);
        pod.deleted = true;
        pod.forced = true;
        this.excuses.push({ pod: pod.uid, fromMs: now });
        world.pods.drop(`ns/${pod.plan.name}`);
        return;
      }
      case 'recreate': {
        const pod = this.pickPod(what.pod);
        if (pod.deleted) return;
        this.reborn.add(pod.uid);
        return this.happen({ type: 'delete', pod: what.pod, grace: what.grace });
      }
      case 'remove': {
        const [pod, { name }] = this.pick(what);
        const container = this.containers(pod, name).findLast(({ state }) => state !== 'RUNNING');
        if (container === undefined) return;
        pod.disturbed = true;
        this.removed.add(pod.uid);
        void world.cri.removeContainer(container.id).catch(() => {});
        return;
      }
      case 'missing': {
        const { plan } = this.pickPod(what.pod);
        const names = what.what === 'volume' ? [plan.name] : plan.containers.map(({ name }) => name);
        for (const name of names) world.parts.missing.add(name);
        world.clock.after(what.forMs, () => {
          for (const name of names) world.parts.missing.delete(name);
        });
        return;
      }
      case 'networkAway':
        world.cri.setCondition('NetworkReady', false);
        world.clock.after(what.forMs, () => world.cri.setCondition('NetworkReady', true));
        return;
      case 'fail':
        world.cri.failNext(what.operation, what.code, { times: what.times, afterEffect: what.afterEffect });
        return;
      case 'hold': {
        const { name } = this.pickPod(what.pod).plan;
        const release = world.cri.hold(what.operation, (subject) => subject === '' || subject.includes(name));
        world.clock.after(what.forMs, release);
        return;
      }
      case 'delay':
        world.cri.delay(what.operation, what.ms);
        return;
      case 'sicken': {
        const [pod, container] = this.pick(what);
        if (container.probes[what.probe] === undefined) return;
        if (what.probe !== 'readiness') {
          this.excuses.push({ pod: pod.uid, container: container.name, fromMs: now });
        }
        this.sick.set(`${pod.uid}/${container.name}/${what.probe}`, now + what.forMs);
        return;
      }
      case 'newImage': {
        const [pod, { name, kind }] = this.pick(what);
        const stored = world.pods.get(`ns/${pod.plan.name}`);
        if (stored === undefined || stored.metadata.deletionTimestamp !== undefined) return;
        if (kind !== 'init') this.excuses.push({ pod: pod.uid, container: name, fromMs: now });
        pod.changed.add(name);
        const change = <T extends { name: string }>(list: T[]): T[] =>
          list.map((entry) => (entry.name === name ? { ...entry, image: 'app:2' } : entry));
        world.pods.put({
          ...stored,
          spec: {
            ...stored.spec,
            containers: change(stored.spec.containers),
            ...(stored.spec.initContainers === undefined ? {} : { initContainers: change(stored.spec.initContainers) }),
          },
        });
      }
    }
  }

  /** Deletes a pod as a user would, in good order. */
  async end(pod: LivingPod): Promise<void> {
    this.excuses.push({ pod: pod.uid, fromMs: this.world.clock.now() });
    pod.deleted = true;
    this.world.delete(pod.plan.name, Math.max(pod.grace, 1));
    await this.pass(0);
  }

  /** Ends everything that is still wrong: what was held is let go by its own timer. */
  heal(): void {
    const { world } = this;
    for (const operation of [
      'runPodSandbox',
      'stopPodSandbox',
      'removePodSandbox',
      'createContainer',
      'startContainer',
      'stopContainer',
      'removeContainer',
      'pullImage',
      'imageStatus',
      'listContainers',
      'listPodSandbox',
      'containerStatus',
      'podSandboxStatus',
      'status',
    ] as const) {
      world.cri.delay(operation, 0);
    }
  }

  private pickPod(index: number): LivingPod {
    const names = this.history.pods.map(({ name }) => name);
    const pod = this.pods.findLast(({ plan }) => plan.name === names[index % names.length]);
    if (pod === undefined) throw new Error('a history without pods');
    return pod;
  }

  private pick({ pod, container }: { pod: number; container: number }): [LivingPod, ContainerPlan] {
    const picked = this.pickPod(pod);
    const plan = picked.plan.containers[container % picked.plan.containers.length];
    if (plan === undefined) throw new Error('a pod without containers');
    return [picked, plan];
  }

  // ── what must hold at every moment ────────────────────────────────────────────────────────────────────────────────

  private lookAtContainers(): void {
    for (const pod of this.pods) this.lookAtOrder(pod);
  }

  private lookAtOrder(pod: LivingPod): void {
    const { plan, uid } = pod;
    const { parts } = this.world;
    for (const [position, { name, kind }] of plan.containers.entries()) {
      const all = this.containers(pod, name);
      const running = all.filter(({ state }) => state === 'RUNNING');
      if (running.length > 1) this.breach(`${plan.name}/${name} runs ${running.length} times at once`);
      if (new Set(all.map(({ attempt }) => attempt)).size < all.length) {
        this.breach(`${plan.name}/${name} has one attempt twice`);
      }
      for (const { sandboxId, startedAt } of running) {
        // What was started before the disturbance is not this agent's doing.
        if (startedAt !== this.world.clock.now()) continue;
        if (!parts.cgroups.has(uid)) this.breach(`${plan.name}/${name} runs without its cgroup`);
        if (!parts.volumes.has(uid)) this.breach(`${plan.name}/${name} runs without its volumes`);
        if (this.removed.has(uid)) continue;
        const before = plan.containers.slice(0, position).filter((other) => other.kind !== 'app');
        const again = this.containers(pod, name).some(
          (one) => one.sandboxId === sandboxId && one.startedAt < startedAt,
        );
        if (again && kind !== 'init') continue;
        for (const other of before) {
          const there = this.containers(pod, other.name).filter((one) => one.sandboxId === sandboxId);
          const done =
            other.kind === 'init'
              ? there.some(({ state, exitCode }) => state === 'EXITED' && exitCode === 0)
              : there.some((one) => one.startedAt > 0);
          if (!done) this.breach(`${plan.name}/${name} was started before ${other.name} was done`);
        }
      }
    }
  }

  private lookAtStatuses(): void {
    const { patches } = this.world.pods;
    while (this.patched < patches.length) {
      const patch = patches[this.patched++];
      if (patch === undefined) continue;
      const pod = this.pods.find(({ uid }) => uid === patch.uid);
      if (pod === undefined) continue;
      const before = this.seen.get(patch.uid);
      this.seen.set(patch.uid, patch.status);
      this.lookAtStatus(pod, patch.status);
      if (before !== undefined) this.lookAtChange(pod, before, patch.status);
    }
  }

  private lookAtStatus(pod: LivingPod, status: PodStatus): void {
    const { name } = pod.plan;
    const say = (what: string): void => this.breach(`status of ${name}: ${what}`);
    const condition = (type: string): string | undefined =>
      status.conditions?.find((entry) => entry.type === type)?.status;
    const sidecars = pod.plan.containers.filter(({ kind }) => kind === 'sidecar').map((entry) => entry.name);
    const counted = [
      ...(status.containerStatuses ?? []),
      ...(status.initContainerStatuses ?? []).filter((entry) => sidecars.includes(entry.name)),
    ];
    const allReady = counted.every(({ ready }) => ready);
    const ended = status.phase === 'Succeeded' || status.phase === 'Failed';
    // A pod whose end is decided is not Ready any more, although its phase waits for its containers.
    const { reason = '' } = status.conditions?.find(({ type }) => type === 'Ready') ?? {};
    const ending = ended || reason === 'PodFailed' || reason === 'PodCompleted';
    if ((condition('Ready') === 'True') !== (allReady && !ending)) say('Ready does not follow its containers');
    if (condition('Ready') !== condition('ContainersReady')) say('Ready and ContainersReady differ');
    for (const entry of all(status)) {
      const { state = {}, containerID } = entry;
      if (entry.ready && state.running === undefined && state.terminated?.exitCode !== 0) {
        say(`${entry.name} is ready but does not run`);
      }
      if (Object.keys(state).length !== 1) say(`${entry.name} is in ${Object.keys(state).length} states`);
      if (state.running !== undefined && containerID === undefined) say(`${entry.name} runs without an id`);
      if (state.terminated !== undefined && (state.terminated.containerID ?? '') !== (containerID ?? '')) {
        if (state.terminated.reason !== 'ContainerStatusUnknown') say(`${entry.name} ended under another id`);
      }
      const made = this.made.get(`${pod.uid}/${entry.name}`) ?? 0;
      if (entry.restartCount > Math.max(0, made - 1)) {
        say(`${entry.name} restarted ${entry.restartCount} times, but was made ${made} times`);
      }
    }
    if (!ended) return;
    for (const { name: container } of pod.plan.containers) {
      if (this.containers(pod, container).some(({ state }) => state === 'RUNNING')) {
        say(`${status.phase} while ${container} runs`);
      }
    }
    const apps = status.containerStatuses ?? [];
    if (status.phase === 'Succeeded' && !apps.every(({ state }) => state?.terminated?.exitCode === 0)) {
      say('Succeeded although not all app containers did');
    }
  }

  private lookAtChange(pod: LivingPod, before: PodStatus, after: PodStatus): void {
    const say = (what: string): void => this.breach(`status of ${pod.plan.name}: ${what}`);
    const ended = before.phase === 'Succeeded' || before.phase === 'Failed';
    if (ended && after.phase !== before.phase) say(`went from ${before.phase} to ${after.phase}`);
    if (before.phase === 'Running' && after.phase === 'Pending' && !pod.disturbed && pod.changed.size === 0) {
      const waits = after.containerStatuses?.map(({ name, state, lastState }) =>
        JSON.stringify({ name, state, lastState }),
      );
      const hooks = pod.plan.containers.some(({ postStart }) => postStart !== undefined);
      if (!hooks) say(`went back to Pending: ${waits?.join(' ')}`);
    }
    for (const old of all(before)) {
      const entry = all(after).find(({ name }) => name === old.name);
      if (entry === undefined) {
        say(`${old.name} is missing`);
        continue;
      }
      if (entry.restartCount < old.restartCount && !this.removed.has(pod.uid)) {
        say(`restartCount of ${old.name} went from ${old.restartCount} to ${entry.restartCount}`);
      }
      const was = nameOf(old.state);
      const is = nameOf(entry.state);
      if (was !== 'terminated') continue;
      if (is === 'waiting' && entry.lastState?.terminated === undefined) {
        say(`${old.name} went from terminated to waiting (${entry.state?.waiting?.reason}) and forgot its end`);
      }
      if (is === 'running' && entry.containerID === old.containerID) say(`${old.name} rose from the dead`);
      if (is === 'terminated' || pod.disturbed || pod.changed.has(old.name)) continue;
      const kind = pod.plan.containers.find(({ name }) => name === old.name)?.kind;
      const restarts =
        kind === 'sidecar' ||
        pod.plan.restartPolicy === 'Always' ||
        (pod.plan.restartPolicy === 'OnFailure' && old.state?.terminated?.exitCode !== 0);
      if (!restarts) say(`${old.name} was restarted against the policy`);
    }
  }
}

export function all(status: PodStatus): ContainerStatus[] {
  return [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])];
}

function nameOf(state: ContainerState | undefined): keyof ContainerState {
  return state?.running !== undefined ? 'running' : state?.terminated !== undefined ? 'terminated' : 'waiting';
}
