import type { History } from './pod-history.ts';
import { all, type LivingPod, PodWitness } from './pod-witness.ts';
import type { PodWorld } from './pod-world.ts';

const SETTLE_MS = 90_000;

/** What the node is when nothing happens any more: as wanted, and said so. */
function lookAtRest(witness: PodWitness): void {
  for (const pod of witness.pods) lookAtPod(witness, pod);
}

function lookAtPod(witness: PodWitness, pod: LivingPod): void {
  const { world } = witness;
  const { plan } = pod;
  const say = (what: string): void => witness.breach(`${plan.name} at rest: ${what}`);
  const status = world.status(plan.name);
  const runs = (name: string): boolean => witness.containers(pod, name).some(({ state }) => state === 'RUNNING');
  if (pod.deleted) {
    if (world.pods.get(`ns/${plan.name}`)?.metadata.uid === pod.uid) say('deleted, but still in the API');
    if (plan.containers.some(({ name }) => runs(name))) say('deleted, but something runs');
    return;
  }
  if (status === undefined) {
    say('no status');
    return;
  }
  for (const entry of all(status)) {
    const made = witness.made.get(`${pod.uid}/${entry.name}`) ?? 0;
    const ran = witness.ran.get(`${pod.uid}/${entry.name}`) ?? 0;
    // One that was made and replaced before it ran may count or not; a crash may be too young to be told.
    const ends = plan.containers.find(({ name }) => name === entry.name);
    const young = ends?.behaviour.type === 'job' || ends?.postStart?.fails === true ? 1 : 0;
    if (witness.removed.has(pod.uid)) continue;
    if (entry.restartCount < ran - 1 - young || entry.restartCount > Math.max(0, made - 1)) {
      say(`${entry.name} was made ${made} and ran ${ran} times, but restartCount is ${entry.restartCount}`);
    }
  }
  if (status.phase === 'Succeeded' || status.phase === 'Failed') {
    if (plan.containers.some(({ name }) => runs(name))) say(`${status.phase}, but something runs`);
    if (world.parts.cgroups.has(pod.uid)) say(`${status.phase}, but its cgroup is there`);
    if (world.parts.volumes.has(pod.uid)) say(`${status.phase}, but its volumes are there`);
    return;
  }
  if (plan.deadline !== undefined && world.clock.now() > pod.bornAt + plan.deadline * 1000) {
    say(`${status.phase} after its deadline`);
    return;
  }
  const sandbox = world.cri.sandbox(plan.name);
  if (sandbox?.state !== 'READY') {
    // As kubelet: a pod that is not restarted gets no second sandbox once something of it has run.
    if (plan.restartPolicy === 'Never' && pod.disturbed) return;
    say('no sandbox');
    return;
  }
  // A sidecar that always ends before it counts as started holds what comes after it.
  const held = plan.containers.some(
    ({ kind, behaviour, postStart }) => kind === 'sidecar' && (behaviour.type === 'job' || postStart?.fails === true),
  );
  for (const { name, kind, behaviour, probes, postStart } of held ? [] : plan.containers) {
    const newest = witness.containers(pod, name).at(-1);
    const entry = all(status).find((one) => one.name === name);
    if (kind === 'init' && witness.removed.has(pod.uid)) continue;
    if (newest === undefined || newest.sandboxId !== sandbox.id) {
      const spared = plan.restartPolicy === 'OnFailure' && newest?.state === 'EXITED' && newest.exitCode === 0;
      if (!spared) say(`${name} is not in the sandbox`);
      continue;
    }
    if (postStart?.fails === true || (behaviour.type === 'job' && kind !== 'init')) continue;
    if (newest.state === 'RUNNING') {
      if (entry?.state?.running === undefined) say(`${name} runs, but is said to be ${JSON.stringify(entry?.state)}`);
      if (entry?.containerID !== `containerd://${newest.id}`) say(`${name} is shown with another id`);
      if (entry?.ready !== true) say(`${name} is not ready: ${JSON.stringify(Object.keys(probes))}`);
    } else if (newest.state === 'EXITED') {
      const ended = entry?.state?.terminated ?? entry?.lastState?.terminated;
      if (ended?.exitCode !== newest.exitCode)
        say(`${name} has exited, but is said to be ${JSON.stringify(entry?.state)}`);
      const restarts = kind === 'sidecar' || plan.restartPolicy === 'Always';
      if (kind !== 'init' && restarts && entry?.state?.waiting?.reason !== 'CrashLoopBackOff') {
        say(`${name} has exited and is not restarted`);
      }
    } else say(`${name} is ${newest.state}`);
  }
}

/** Nothing in this history goes on by itself. */
function restsForGood(history: History): boolean {
  return history.pods.every(({ containers }) =>
    containers.every(
      ({ behaviour, postStart, kind }) => (behaviour.type === 'serve' || kind === 'init') && postStart?.fails !== true,
    ),
  );
}

const CHANGING = [
  'runPodSandbox',
  'stopPodSandbox',
  'removePodSandbox',
  'createContainer',
  'startContainer',
  'stopContainer',
  'removeContainer',
  'pullImage',
];

/** Lives a history to its end, heals the node, deletes everything; answers what was wrong on the way. */
export async function breachesOf(history: History): Promise<readonly string[]> {
  const witness = new PodWitness(history);
  const { world } = witness;
  try {
    await witness.live();
    witness.heal();
    await witness.pass(SETTLE_MS);
    lookAtRest(witness);
    const patches = world.pods.patches.length;
    const calls = new Map(world.calls);
    const { looks } = world;
    await witness.pass(20_000);
    // Each container that crashes over and over, or a failing pull, is looked at a few times for each attempt.
    if (world.looks - looks > 300) witness.breach(`${world.looks - looks} looks in 20 s`);
    if (restsForGood(history)) {
      if (world.looks - looks > 4 * witness.pods.length) witness.breach('pods are looked at over and over');
      if (world.pods.patches.length !== patches) witness.breach('statuses are rewritten although nothing changes');
      for (const name of CHANGING) {
        if (world.calls.get(name) !== calls.get(name)) witness.breach(`${name} is called although nothing changes`);
      }
    }
    for (const pod of witness.pods) {
      if (world.pods.get(`ns/${pod.plan.name}`)?.metadata.uid !== pod.uid) continue;
      await witness.end(pod);
    }
    await witness.pass(40_000);
    witness.lookAtSignals();
    const { sandboxes, containers, running } = world.cri.counts;
    const { cgroups, volumes, logs } = world.parts;
    const left = { sandboxes, containers, running, cgroups: cgroups.size, volumes: volumes.size, logs: logs.size };
    if (Object.values(left).some((count) => count > 0)) witness.breach(`left over: ${JSON.stringify(left)}`);
    if (world.pods.size > 0) witness.breach('a deleted pod is still in the API');
    for (const error of world.errors) witness.breach(`logged as an error: ${error}`);
  } finally {
    await world.stop();
  }
  return witness.breaches;
}

/** How often the agent has asked the runtime for what, up to now. */
export function callsOf(world: PodWorld): (operation: string) => number {
  const calls = new Map(world.calls);
  return (operation) => calls.get(operation) ?? 0;
}
