import { containersOf, type KindedContainer } from '../container-kinds.ts';
import { isAlive } from '../observe/pod-runtime.ts';
import { planKill } from './kill.ts';
import type { Plan, PlanBuilder, PlanInput } from './plan.ts';

/** Steps of a pod's start that are cut off when it must end; nothing is taken down before they have let go. */
const STARTING = ['prepare', 'ensureCgroup', 'createSandbox', 'start'];

/**
 * The end of a pod, in the reverse order of its start:
 * 1 containers (app and init, then sidecars from the last to the first), 2 sandboxes and volumes, 3 cgroup, and for a
 * deleted pod 4 the API object, 5 dead containers and sandboxes, 6 logs and directories.
 */
export function planTermination(builder: PlanBuilder): Plan['mode'] {
  const { input } = builder;
  const { facts, runtime } = input;
  killInOrder(builder);
  if (runtime.containers.some(isAlive) || STARTING.some((key) => facts.running.has(key))) return 'terminating';

  for (const sandbox of runtime.sandboxes) {
    if (!facts.stoppedSandboxes.has(sandbox.id)) builder.push({ do: 'stopSandbox', id: sandbox.id });
  }
  // A container known to have ended by an early notice only still has its last words to be read, from a file among these.
  if (!facts.volumesGone && !runtime.containers.some(({ provisional }) => provisional)) {
    builder.push({ do: 'unmountVolumes' });
  }
  if (runtime.sandboxes.some((sandbox) => sandbox.state === 'READY' || !facts.stoppedSandboxes.has(sandbox.id))) {
    return 'terminating';
  }
  if (!facts.cgroupGone) builder.push({ do: 'removeCgroup' });
  if (!facts.volumesGone || !facts.cgroupGone) return 'terminating';

  // Before its last status is told a container's end must stay to be read.
  const told = facts.lastStatus?.phase === 'Failed' || facts.lastStatus?.phase === 'Succeeded';
  if (input.intent === 'run' && !(facts.discard && told)) {
    removeOlder(builder);
    return 'terminated';
  }
  if (input.intent === 'delete' && !facts.finalized) builder.push({ do: 'finalize' });
  for (const sandbox of runtime.sandboxes) builder.push({ do: 'removeSandbox', id: sandbox.id });
  for (const container of runtime.containers) {
    if (!runtime.sandboxes.some((sandbox) => sandbox.id === container.sandboxId)) {
      builder.push({ do: 'removeContainer', id: container.id });
    }
  }
  if (runtime.sandboxes.length === 0 && runtime.containers.length === 0 && !facts.cleanedUp) {
    builder.push({ do: 'cleanUp' });
  }
  return 'terminated';
}

/** Of each container the last attempt stays for its log, and of the sandboxes the newest (kubelet kuberuntime_gc.go). */
function removeOlder(builder: PlanBuilder): void {
  const { runtime } = builder.input;
  const names = new Set<string>();
  const kept = new Set(runtime.sandboxes.slice(0, 1).map(({ id }) => id));
  for (const { name, id, sandboxId } of runtime.containers) {
    if (names.has(name)) builder.push({ do: 'removeContainer', id });
    else kept.add(sandboxId);
    names.add(name);
  }
  for (const { id } of runtime.sandboxes) if (!kept.has(id)) builder.push({ do: 'removeSandbox', id });
}

function killInOrder(builder: PlanBuilder): void {
  const { pod, runtime } = builder.input;
  const namesOf = (kind: KindedContainer['kind']): string[] =>
    containersOf(pod)
      .filter((entry) => entry.kind === kind)
      .map((entry) => entry.container.name);
  const sidecars = namesOf('sidecar');
  const apps = namesOf('app');
  const graceSeconds = terminationGrace(builder.input);
  const alive = runtime.containers.filter(isAlive);
  for (const record of alive) {
    const position = sidecars.indexOf(record.name);
    // Sidecars go after the app containers, the last one first; they wait for their turn inside the one shared grace
    // period (KEP-753). For init and ephemeral containers they do not wait (kuberuntime_termination_order.go).
    const mayStop =
      position === -1 || !alive.some(({ name }) => apps.includes(name) || sidecars.indexOf(name) > position);
    planKill(builder, {
      record,
      graceSeconds,
      message: `Stopping container ${record.name}`,
      runPreStop: true,
      mayStop,
    });
  }
}

/** Seconds; at least 1 (kubelet pod_workers.go calculateEffectiveGracePeriod). */
export function terminationGrace({ pod, intent, facts }: PlanInput): number {
  const fromSpec = pod.spec.terminationGracePeriodSeconds ?? 30;
  const asked = intent === 'run' ? fromSpec : (pod.metadata.deletionGracePeriodSeconds ?? fromSpec);
  // A pod that is deleted already may have to go sooner: the node is short, or shuts down.
  const own = facts.end?.graceSeconds;
  return Math.max(1, intent === 'run' ? (own ?? asked) : Math.min(asked, own ?? asked));
}
