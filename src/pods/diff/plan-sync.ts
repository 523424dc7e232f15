import { retryAt } from '../../kit/backoff.ts';
import type { Container } from '../../model/pod.ts';
import { isSidecar } from '../../model/pod-resources.ts';
import { type ContainerKind, containersOf, type KindedContainer } from '../container-kinds.ts';
import { CRASH_RESET_MS, noContainerFacts } from '../facts.ts';
import { identityOf } from '../identity.ts';
import { type ContainerRecord, isAlive, newestContainer, type SandboxRecord } from '../observe/pod-runtime.ts';
import { resizePlan } from '../resize/resize-plan.ts';
import { planKill } from './kill.ts';
import { isOutdated, restartPolicyOf, restarts, restartsAfterProbe, wasStoppedForResize } from './outcome.ts';
import type { PlanBuilder, PlanInput } from './plan.ts';
import { planRestartAll, RESTARTING_ALL, restartsAll } from './restart-all.ts';

/**
 * The life of a pod, in the order of its steps: 1 volumes, and beside them the cgroup, 2 sandbox, 3 ephemeral
 * containers, 4 init containers and sidecars one after the other, 5 app containers in order; beside that, containers
 * that must be restarted are killed, and dead ones that nobody needs any more are removed. The sandbox does not wait for
 * the cgroup (the runtime makes the directories that it finds missing), but no container starts without its limits.
 */
export function planSync(builder: PlanBuilder): void {
  const { input } = builder;
  setDefaultWaiting(builder);
  if (!input.facts.prepared) builder.push({ do: 'prepare' });
  if (!input.facts.cgroupReady) builder.push({ do: 'ensureCgroup' });
  const sandbox = currentSandbox(input);
  if (sandbox === undefined) {
    planNewSandbox(builder);
    return;
  }
  killStrays(builder, sandbox);
  if (restartsAll(input)) {
    planRestartAll(builder);
    return;
  }
  killUnfit(builder, sandbox);
  removeDead(builder, sandbox);
  const resizing = planResize(builder, sandbox);
  for (const { kind, container } of containersOf(input.pod)) {
    const record = newestContainer(input.runtime, container.name);
    if (kind === 'ephemeral' && (record === undefined || record.state === 'CREATED')) {
      planStart(builder, container, sandbox);
    }
  }
  // What starts now must find the pod's cgroup as large as it was granted to be.
  if (resizing) return;
  if (planInit(builder, sandbox)) planApp(builder, sandbox);
}

function setDefaultWaiting(builder: PlanBuilder): void {
  const { pod } = builder.input;
  const reason = (pod.spec.initContainers ?? []).length > 0 ? 'PodInitializing' : 'ContainerCreating';
  for (const { container } of containersOf(pod)) builder.waiting.set(container.name, { reason });
}

// ── sandbox ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The sandbox that the pod can live in: the newest, ready, in the right network, with an address (kubelet PodSandboxChanged). */
export function currentSandbox({ pod, runtime }: Pick<PlanInput, 'pod' | 'runtime'>): SandboxRecord | undefined {
  const newest = runtime.sandboxes[0];
  if (newest === undefined || newest.state !== 'READY') return undefined;
  const hostNetwork = pod.spec.hostNetwork === true;
  if (newest.hostNetwork !== hostNetwork) return undefined;
  return hostNetwork || newest.ips.length > 0 ? newest : undefined;
}

/** The back-off of a sandbox's takedown beyond which its successor does not wait for it: the third failure. */
const STOP_PATIENCE_MS = 2000;

function planNewSandbox(builder: PlanBuilder): void {
  const { pod, runtime, facts, node } = builder.input;
  // Images of the first containers are looked for while the sandbox is made.
  for (const container of firstContainers(builder.input)) ensureImage(builder, container);
  for (const record of runtime.containers.filter(isAlive)) {
    planKill(builder, {
      record,
      graceSeconds: pod.spec.terminationGracePeriodSeconds ?? 30,
      message: `Stopping container ${record.name}: its sandbox is gone`,
      runPreStop: false,
      mayStop: true,
    });
  }
  // A container that is being made right now may run before it is known of.
  if (runtime.containers.some(isAlive) || facts.running.has('start')) return;
  for (const sandbox of runtime.sandboxes) {
    if (!facts.stoppedSandboxes.has(sandbox.id)) builder.push({ do: 'stopSandbox', id: sandbox.id });
  }
  if (runtime.sandboxes.some((sandbox) => sandbox.state === 'READY' || holdsBack(builder.input, sandbox))) return;
  // Failed attempts do not pile up; the newest stays for its number.
  for (const old of runtime.sandboxes.slice(1)) {
    if (facts.stoppedSandboxes.has(old.id) && !runtime.containers.some((record) => record.sandboxId === old.id)) {
      builder.push({ do: 'removeSandbox', id: old.id });
    }
  }
  if (!facts.prepared) return;
  if (!node.networkReady && pod.spec.hostNetwork !== true) return;
  const attempt = (runtime.sandboxes[0]?.attempt ?? -1) + 1;
  const ranBefore = attempt > 0 && runtime.containers.length > 0;
  if (ranBefore && restartPolicyOf(pod) === 'Never') return;
  builder.push({ do: 'createSandbox', attempt });
}

/**
 * A dead sandbox is to be taken down before its successor is made. But a runtime that died while it wrote may never be
 * able to (containerd keeps failing on a CNI result that was cut short): after some attempts the pod goes on without.
 */
function holdsBack({ facts }: PlanInput, { id }: SandboxRecord): boolean {
  if (facts.stoppedSandboxes.has(id)) return false;
  return (facts.failures.get(`stopSandbox/${id}`)?.backoff.delayMs ?? 0) < STOP_PATIENCE_MS;
}

function firstContainers({ pod }: PlanInput): Container[] {
  const inits = pod.spec.initContainers ?? [];
  return inits[0] === undefined ? pod.spec.containers : [inits[0]];
}

// ── stopping what must not go on ────────────────────────────────────────────────────────────────────────────────────

/** Containers of older sandboxes, and older sandboxes themselves. */
function killStrays(builder: PlanBuilder, sandbox: SandboxRecord): void {
  const { runtime, facts, pod } = builder.input;
  for (const record of runtime.containers) {
    if (record.sandboxId === sandbox.id || !isAlive(record)) continue;
    planKill(builder, {
      record,
      graceSeconds: pod.spec.terminationGracePeriodSeconds ?? 30,
      message: `Stopping container ${record.name}: it belongs to an older sandbox`,
      runPreStop: false,
      mayStop: true,
    });
  }
  for (const old of runtime.sandboxes) {
    if (old.id === sandbox.id || facts.stoppedSandboxes.has(old.id)) continue;
    if (runtime.containers.some((record) => record.sandboxId === old.id && isAlive(record))) continue;
    builder.push({ do: 'stopSandbox', id: old.id });
  }
}

/** Running containers that failed a probe or whose definition changed. */
function killUnfit(builder: PlanBuilder, sandbox: SandboxRecord): void {
  const { pod, runtime, facts } = builder.input;
  for (const { kind, container } of containersOf(pod)) {
    if (kind === 'ephemeral') continue;
    const record = newestContainer(runtime, container.name, sandbox.id);
    if (record === undefined || !isAlive(record)) continue;
    const verdict = facts.kills.has(record.id)
      ? { message: '', grace: undefined }
      : unfit(builder.input, kind, container, record);
    if (verdict === undefined) continue;
    planKill(builder, {
      record,
      graceSeconds: Math.max(
        1,
        verdict.grace ?? killGrace(builder, record, pod.spec.terminationGracePeriodSeconds ?? 30),
      ),
      message: verdict.message,
      runPreStop: true,
      mayStop: true,
    });
  }
}

// A kill under way keeps the grace that it was begun with (a probe may have brought its own).
function killGrace(builder: PlanBuilder, record: ContainerRecord, fallback: number): number {
  const kill = builder.input.facts.kills.get(record.id);
  return kill === undefined ? fallback : (kill.deadline - kill.since) / 1000;
}

function unfit(
  { probe, pod, runtime, resize }: PlanInput,
  kind: ContainerKind,
  container: Container,
  record: ContainerRecord,
): { message: string; grace: number | undefined } | undefined {
  const { name } = container;
  if (record.state === 'UNKNOWN') {
    return { message: `Container ${name} is in unknown state, try killing it before restart`, grace: undefined };
  }
  // An init container under way is let finish (kubelet computeInitContainerActions).
  if (kind === 'init') return undefined;
  if (isOutdated(container, record)) {
    return { message: `Container ${name} definition changed, will be restarted`, grace: undefined };
  }
  if (record.state !== 'RUNNING') return undefined;
  const consequence = restartsAfterProbe(pod, container) ? ', will be restarted' : '';
  if (probe(record.id, 'liveness') === 'failure') {
    return {
      message: `Container ${name} failed liveness probe${consequence}`,
      grace: container.livenessProbe?.terminationGracePeriodSeconds,
    };
  }
  if (probe(record.id, 'startup') === 'failure') {
    return {
      message: `Container ${name} failed startup probe${consequence}`,
      grace: container.startupProbe?.terminationGracePeriodSeconds,
    };
  }
  if (resize !== undefined && resizePlan(pod, runtime, record.sandboxId, resize).restart.has(name)) {
    return { message: `Container ${name} resize requires restart`, grace: undefined };
  }
  return undefined;
}

/** Keeps, per name, the newest container and the last dead one before it (lastState and `logs --previous`). */
function removeDead(builder: PlanBuilder, sandbox: SandboxRecord): void {
  const { runtime, facts } = builder.input;
  const kept = new Map<string, number>();
  const needed = new Set<string>();
  for (const record of runtime.containers) {
    const count = kept.get(record.name) ?? 0;
    kept.set(record.name, count + 1);
    if (count < 2 || isAlive(record)) needed.add(record.sandboxId);
    else builder.push({ do: 'removeContainer', id: record.id });
  }
  for (const old of runtime.sandboxes) {
    if (old.id === sandbox.id || needed.has(old.id) || !facts.stoppedSandboxes.has(old.id)) continue;
    builder.push({ do: 'removeSandbox', id: old.id });
  }
}

// ── resizing ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Answers whether a resize is under way that other containers wait for. One that cannot be done now holds nothing up. */
function planResize(builder: PlanBuilder, sandbox: SandboxRecord): boolean {
  const { pod, runtime, facts, resize } = builder.input;
  if (resize === undefined || !facts.cgroupReady) return false;
  if (facts.running.has('resizePod')) return true;
  const plan = resizePlan(pod, runtime, sandbox.id, resize);
  // What is restarted for its new size has to be down first: until then it may need what is to be taken away.
  if (plan.restart.size > 0) return false;
  if (!plan.pod && plan.memory.length === 0 && plan.cpu.length === 0) return false;
  return builder.push({ do: 'resizePod', sandboxId: sandbox.id, plan });
}

// ── starting ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Returns true when the app containers may start. */
function planInit(builder: PlanBuilder, sandbox: SandboxRecord): boolean {
  const { pod, runtime } = builder.input;
  const inits = pod.spec.initContainers ?? [];
  // Once an app container was made in this sandbox, init containers have done their work, even if they were removed.
  const initialized = pod.spec.containers.some((c) => newestContainer(runtime, c.name, sandbox.id) !== undefined);
  const frontier = lastIndex(inits, (container) => newestContainer(runtime, container.name, sandbox.id) !== undefined);
  for (const [index, container] of inits.entries()) {
    const record = newestContainer(runtime, container.name, sandbox.id);
    if (isSidecar(container)) {
      const up = planSidecar(builder, container, record, sandbox);
      // A sidecar that had come up before and crashed does not hold those behind it back.
      if (!up && !initialized && index >= frontier) return false;
    } else if (!initialized && !(record === undefined && index < frontier)) {
      // One whose successor was made had done its work, even if its record was removed since.
      if (!initDone(builder, container, record, sandbox)) return false;
    }
  }
  return true;
}

function planSidecar(
  builder: PlanBuilder,
  container: Container,
  record: ContainerRecord | undefined,
  sandbox: SandboxRecord,
): boolean {
  if (record?.state === 'RUNNING') return isStarted(builder.input, container, record);
  planStart(builder, container, sandbox);
  return false;
}

/** Runs, is not being started any more (postStart hook), and its startup probe (if any) has succeeded: status.started. */
export function isStarted(
  input: Pick<PlanInput, 'facts' | 'probe'>,
  container: Container,
  record: ContainerRecord,
): boolean {
  if (record.state !== 'RUNNING') return false;
  if (input.facts.containers.get(container.name)?.starting === record.id) return false;
  return container.startupProbe === undefined || input.probe(record.id, 'startup') === 'success';
}

function initDone(
  builder: PlanBuilder,
  container: Container,
  record: ContainerRecord | undefined,
  sandbox: SandboxRecord,
): boolean {
  if (record?.state === 'EXITED') {
    if (record.exitCode === 0) return true;
    if (!restarts(builder.input, container, record)) return false;
  }
  if (record?.state !== 'RUNNING') planStart(builder, container, sandbox);
  return false;
}

function planApp(builder: PlanBuilder, sandbox: SandboxRecord): void {
  const { pod, runtime } = builder.input;
  const todo: KindedContainer['container'][] = [];
  for (const container of pod.spec.containers) {
    const here = newestContainer(runtime, container.name, sandbox.id);
    const newest = here ?? newestContainer(runtime, container.name);
    if (here !== undefined && (here.state === 'RUNNING' || here.state === 'UNKNOWN')) continue;
    if (newest?.state === 'EXITED' && !restarts(builder.input, container, newest)) {
      // In a new sandbox an "Always" or failed container runs again; one that succeeded under OnFailure does not.
      continue;
    }
    todo.push(container);
  }
  for (const container of todo) ensureImageUnlessBackingOff(builder, container);
  for (const container of todo) {
    // Those behind a container whose image is still being fetched wait for their turn.
    if (planStart(builder, container, sandbox) === 'under way') return;
  }
}

/** 'under way': this container's start (or its image) is being worked on, so the next one waits. */
function planStart(builder: PlanBuilder, container: Container, sandbox: SandboxRecord): 'under way' | 'held' {
  const { runtime, facts } = builder.input;
  const previous = newestContainer(runtime, container.name);
  const here = previous?.sandboxId === sandbox.id ? previous : undefined;
  if (here !== undefined && here.state !== 'EXITED' && here.state !== 'CREATED') return 'held';
  if (facts.running.has('start')) return 'under way';
  // Its former self in an older sandbox goes first.
  if (runtime.containers.some((r) => r.name === container.name && r.sandboxId !== sandbox.id && isAlive(r))) {
    return 'held';
  }
  if (here?.state === 'CREATED') {
    // Why it could not be started stands in the status for as long as that is waited for.
    if (showFailure(builder, container)) return 'held';
    return startNow(builder, container, sandbox, here.imageRef, here.restartCount, here.id);
  }
  if (crashBackoff(builder, container, previous)) return 'held';
  if (showFailure(builder, container)) return 'held';
  const imageRef = facts.containers.get(container.name)?.imageRef;
  if (imageRef === undefined) {
    ensureImage(builder, container);
    return 'under way';
  }
  return startNow(
    builder,
    container,
    sandbox,
    imageRef,
    nextRestartCount(builder.input, container, previous),
    undefined,
  );
}

function startNow(
  builder: PlanBuilder,
  container: Container,
  sandbox: SandboxRecord,
  imageRef: string,
  restartCount: number,
  createdId: string | undefined,
): 'under way' | 'held' {
  const { prepared, cgroupReady } = builder.input.facts;
  if (!prepared || !cgroupReady) return 'under way';
  const taken = builder.push({
    do: 'startContainer',
    container: container.name,
    sandboxId: sandbox.id,
    restartCount,
    imageRef,
    createdId,
  });
  return taken ? 'under way' : 'held';
}

/** Counts on from what the runtime has or, where someone removed that, from what the status said. */
function nextRestartCount({ facts }: PlanInput, { name }: Container, previous: ContainerRecord | undefined): number {
  const next = previous === undefined ? 0 : previous.restartCount + 1;
  const { initContainerStatuses = [], containerStatuses = [] } = facts.lastStatus ?? {};
  const said = [...initContainerStatuses, ...containerStatuses].find((status) => status.name === name);
  if (said === undefined) return next;
  const ran = said.state?.running ?? said.state?.terminated ?? said.lastState?.terminated;
  // Counted when it was taken away.
  const away = said.state?.waiting !== undefined && said.lastState?.terminated?.reason === RESTARTING_ALL;
  if (away) return Math.max(next, said.restartCount);
  return Math.max(next, ran === undefined ? said.restartCount : said.restartCount + 1);
}

function ensureImageUnlessBackingOff(builder: PlanBuilder, container: Container): void {
  const previous = newestContainer(builder.input.runtime, container.name);
  // The image of the start under way is there; the runtime may show that start a moment later.
  if (builder.input.facts.containers.get(container.name)?.starting !== undefined) return;
  if (previous?.state === 'CREATED' || crashBackoff(builder, container, previous)) return;
  ensureImage(builder, container);
}

function ensureImage(builder: PlanBuilder, container: Container): void {
  const facts = builder.input.facts.containers.get(container.name) ?? noContainerFacts;
  if (facts.imageRef !== undefined) return;
  if (showFailure(builder, container)) return;
  builder.push({ do: 'ensureImage', container: container.name });
}

/** Puts the last failure of this container's image or start into `waiting`; true while it is too early to try again. */
function showFailure(builder: PlanBuilder, container: Container): boolean {
  const { facts, now } = builder.input;
  for (const key of [`image/${container.name}`, `start/${container.name}`]) {
    const failure = facts.failures.get(key);
    if (failure === undefined) continue;
    const due = retryAt(failure.backoff, now);
    // What the sandbox cannot be made for is told of the pod.
    if (failure.reason !== 'FailedCreatePodSandBox') {
      const ageMs = now - failure.backoff.failedAt;
      builder.waiting.set(container.name, waitingFor(failure.reason, failure.message, container, ageMs));
    }
    if (due > now) {
      builder.lookAgainAt(due);
      const shownUntil = failure.backoff.failedAt + ERROR_SHOWN_MS;
      if (PULL_REASONS.has(failure.reason) && shownUntil > now) builder.lookAgainAt(shownUntil);
      return true;
    }
  }
  return false;
}

/** Reasons of a pull that the registry or the runtime refused. */
const PULL_REASONS: ReadonlySet<string> = new Set(['ErrImagePull', 'RegistryUnavailable', 'SignatureValidationFailed']);
/** An error stands for this long before the status says that deckhand is backing off. */
const ERROR_SHOWN_MS = 1000;

function waitingFor(
  reason: string,
  message: string,
  container: Container,
  ageMs: number,
): { reason: string; message: string } {
  if (!PULL_REASONS.has(reason) || ageMs < ERROR_SHOWN_MS) return { reason, message };
  const text = `Back-off pulling image "${container.image ?? ''}": ${reason}: ${message}`;
  return { reason: 'ImagePullBackOff', message: text };
}

/** True while a container that has exited waits for its restart. */
function crashBackoff(builder: PlanBuilder, container: Container, previous: ContainerRecord | undefined): boolean {
  const { facts, now, pod } = builder.input;
  if (previous?.state !== 'EXITED' || wasStoppedForResize(builder.input, container, previous)) return false;
  const entry = facts.containers.get(container.name)?.crash;
  if (entry === undefined) return false;
  // The restart after this very exit has begun already; the new container is not to be seen yet.
  if (previous.finishedAt < entry.failedAt) return false;
  // Back-off counts from the exit; a container that ran long enough since the last count starts over.
  if (previous.finishedAt - entry.failedAt > CRASH_RESET_MS) return false;
  const due = retryAt({ failedAt: previous.finishedAt, delayMs: entry.delayMs }, now);
  if (due <= now) return false;
  builder.lookAgainAt(due);
  // Why the last start failed stands a moment before the status says that deckhand is backing off.
  const failure = facts.failures.get(`start/${container.name}`);
  const shownUntil = (failure?.backoff.failedAt ?? 0) + ERROR_SHOWN_MS;
  if (failure !== undefined && shownUntil > now) {
    builder.waiting.set(container.name, { reason: failure.reason, message: failure.message });
    builder.lookAgainAt(shownUntil);
    return true;
  }
  const { name, namespace, uid } = identityOf(pod);
  builder.waiting.set(container.name, {
    reason: 'CrashLoopBackOff',
    message: `back-off ${goSeconds(entry.delayMs)} restarting failed container=${container.name} pod=${name}_${namespace}(${uid})`,
  });
  return true;
}

/** A duration as Go prints it: 10s, 1m20s, 5m0s. */
function goSeconds(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}

function lastIndex<T>(items: readonly T[], matches: (item: T) => boolean): number {
  for (let index = items.length - 1; index >= 0; index--) {
    const item = items[index];
    if (item !== undefined && matches(item)) return index;
  }
  return -1;
}
