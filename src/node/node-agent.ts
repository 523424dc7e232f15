import type { ApiClient, Change, EventRecorder, View } from '../cluster/port.ts';
import type { MachineFacts, MachinePort } from '../host/machine/port.ts';
import { RetryDelays } from '../kit/backoff.ts';
import type { Clock } from '../kit/clock.ts';
import { hasCode, messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import { conditionOf, isConditionTrue } from '../model/conditions.ts';
import type { ResourceList } from '../model/meta.ts';
import type { Node, NodeStatus } from '../model/node.ts';
import { resources } from '../model/resource.ts';
import { parseTime } from '../model/time.ts';
import { ClockWatch } from './clock-watch.ts';
import { NameConflict, sameMachine } from './name-conflict.ts';
import { type FoundIPs, hostIPsOf, isSpecified, nodeIPs } from './node-addresses.ts';
import { type NodeEvent, nodeEvents, statusEvent } from './node-events.ts';
import { NodeLease } from './node-lease.ts';
import { metadataUpkeep, type RegistrationOptions, registerNode } from './node-registration.ts';
import type { NodeStartupMetrics } from './node-startup-metrics.ts';
import { type DeviceResources, type NodeStatusOptions, nodeStatus } from './node-status.ts';
import { nodeStatusPatch } from './node-status-patch.ts';
import type { PressureMonitor } from './pressure-monitor.ts';
import type { RuntimeFactsSource } from './runtime-facts.ts';
import { waitAtMost } from './wait-at-most.ts';

export interface NodeAgentOptions extends NodeStatusOptions, RegistrationOptions {
  /** nodeStatusUpdateFrequency and nodeStatusReportFrequency, milliseconds. */
  readonly statusUpdateMs: number;
  readonly statusReportMs: number;
  readonly leaseSeconds: number;
  /**
   * A Node that is deleted while this process runs is made again. kubelet leaves it deleted until it is restarted,
   * which is how an administrator takes a node out of a cluster; on a node that is its own cluster nobody can mean that.
   */
  readonly registerAgain: boolean;
}

export interface NodeAgentDeps {
  /** The heartbeat client: nothing else may hold up its requests. */
  readonly api: ApiClient;
  /** This Node as a watch keeps it. */
  readonly node: View<Node>;
  readonly machine: MachinePort;
  readonly runtime: Pick<RuntimeFactsSource, 'read'>;
  /** A capacity without what is reserved (pods/resources nodeAllocatable). */
  readonly allocatable: (capacity: ResourceList) => ResourceList;
  readonly pressure: Pick<PressureMonitor, 'read' | 'nodeFilesystem'>;
  /** What is wrong with the node's own parts, in kubelet's words ("PLEG is not healthy: …"); none: empty. */
  readonly unhealthy?: () => readonly string[];
  /** What device plugins have here. */
  readonly devices?: () => DeviceResources | undefined;
  /** Node.status.volumesInUse; undefined while it is not known. */
  readonly volumesInUse?: () => readonly string[] | undefined;
  /** The machine is going down (graceful node shutdown). */
  readonly shuttingDown?: () => boolean;
  readonly metrics?: NodeStartupMetrics;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random?: () => number;
}

/** At start the status is computed this often until the node is ready (kubelet fastStatusUpdateOnce)… */
const FAST_MS = 100;
/** …for this long. */
const FAST_FOR_MS = 120_000;
/** Rounds of many nodes that started together drift apart (kubelet.go, JitterUntil). */
const ROUND_JITTER = 0.04;
/** While the API does not answer it is asked at least this often. */
const RETRY_MS = 5000;
/** For so long after that the watch may be behind: the node controller judges nodes by what it missed itself. */
const DOUBTFUL_MS = 60_000;
/** A name's addresses are asked for anew this often; kubelet asks with each status. */
const RESOLVE_MS = 300_000;
/** DNS that does not answer must not keep the node from its address: /etc/hosts, which names most nodes, is quicker. */
const RESOLVE_PATIENCE_MS = 150;

/** Registers the node, keeps its status true and its lease alive. */
export class NodeAgent {
  private readonly options: NodeAgentOptions;
  private readonly deps: NodeAgentDeps;
  private readonly lease: NodeLease;
  private readonly conflict: NameConflict;
  private readonly clockWatch = new ClockWatch();
  private node: Node | undefined;
  private facts: MachineFacts | undefined;
  private resolved: readonly string[] = [];
  private resolvedAt = Number.NEGATIVE_INFINITY;
  private problem: string | undefined;
  private registered = false;
  private deleted = false;
  private rebootTold = false;
  private unschedulable = false;
  /** The Node had this machine's identity once: one with another is somebody else's doing. */
  private identityWritten = false;
  private reportedAt: number | undefined;
  private reportAfterMs = 0;
  /** Until then (monotonic) the Node is read from the server each round. */
  private doubtfulUntil = Number.NEGATIVE_INFINITY;
  private wake: (() => void) | undefined;
  private woken = false;

  constructor(options: NodeAgentOptions, deps: NodeAgentDeps) {
    this.options = options;
    this.deps = deps;
    const { api, clock, logger, random } = deps;
    this.conflict = new NameConflict(options.nodeName, { clock, logger, event: (event) => this.event(event) });
    this.lease = new NodeLease(
      { nodeName: options.nodeName, durationSeconds: options.leaseSeconds },
      {
        api,
        clock,
        logger,
        nodeUid: () => (this.deleted ? undefined : this.node?.metadata.uid),
        foreignRenewal: () => this.conflict.foreignRenewal(),
        recovered: () => this.recovered(),
        ...(random === undefined ? {} : { random }),
      },
    );
  }

  /** The Node as the API told of it last; undefined before it is known. */
  get current(): Node | undefined {
    return this.node;
  }

  get ready(): boolean {
    return isConditionTrue(this.node?.status?.conditions, 'Ready');
  }

  /** The addresses that pods of this host's network have. Primary first. */
  ips(): readonly string[] {
    // Behind a cloud provider the Node's addresses are the provider's.
    const given = this.options.externalCloudProvider ? hostIPsOf(this.node?.status?.addresses) : [];
    if (given.length > 0) return given;
    const found = this.findIPs();
    return 'ips' in found ? found.ips : this.options.nodeIPs.filter(isSpecified);
  }

  /** Finds out what the node's name resolves to, which `ips` depends on. */
  async resolve(signal?: AbortSignal): Promise<void> {
    const { clock, machine } = this.deps;
    const { nodeIPs: configured, nodeName } = this.options;
    if (configured.some(isSpecified) || clock.monotonic() - this.resolvedAt < RESOLVE_MS) return;
    this.resolvedAt = clock.monotonic();
    const answer = machine.resolve(nodeName).then((addresses) => {
      this.resolved = addresses;
    });
    await waitAtMost(answer, RESOLVE_PATIENCE_MS, clock, signal);
  }

  /** Computes the status now instead of at the next round: something that it tells of has changed. */
  refresh(): void {
    this.woken = true;
    this.wake?.();
  }

  /** Runs until aborted. */
  async run(signal: AbortSignal): Promise<void> {
    this.event({ type: 'Normal', reason: 'Starting', message: 'Starting kubelet.' });
    this.facts = await this.deps.machine.facts();
    const unsubscribe = this.deps.node.subscribe((change) => this.changed(change));
    try {
      this.seen(this.deps.node.get(this.options.nodeName));
      // The lease of a Node that is there already is renewed from the first moment.
      await Promise.all([this.keepStatus(this.facts, signal), this.lease.run(signal)]);
    } finally {
      unsubscribe();
    }
  }

  private async keepStatus(facts: MachineFacts, signal: AbortSignal): Promise<void> {
    const { clock, logger, random = Math.random } = this.deps;
    const { statusUpdateMs } = this.options;
    const delays = new RetryDelays({ baseMs: 200, maxMs: Math.min(statusUpdateMs, RETRY_MS), jitter: 0.5, random });
    const started = clock.monotonic();
    let failures = 0;
    while (!signal.aborted) {
      let delay: number;
      this.woken = false;
      try {
        this.tellOfClock();
        if (!this.registered) await this.register(facts, signal);
        if (!this.deleted) await this.sync(facts, failures > 0 || clock.monotonic() < this.doubtfulUntil, signal);
        delays.reset();
        failures = 0;
        const fast = !this.ready && !this.deleted && clock.monotonic() - started < FAST_FOR_MS;
        delay = fast ? FAST_MS : statusUpdateMs * (1 + ROUND_JITTER * random());
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        delay = delays.next();
        if (hasCode(error, 'NotFound') && this.registered) this.lost();
        else {
          logger.warn(
            { error: messageOf(error), inMs: Math.round(delay) },
            'could not write the node status; it is retried',
          );
        }
      }
      await this.pause(delay, signal);
    }
  }

  private async register(facts: MachineFacts, signal: AbortSignal): Promise<void> {
    const { api, clock, logger, random, metrics, node: view } = this.deps;
    metrics?.attempted(clock.monotonic());
    const { node, made } = await registerNode(
      this.options,
      {
        api,
        clock,
        logger,
        machine: facts,
        known: () => view.get(this.options.nodeName),
        status: () => this.compute(facts, undefined, signal),
        ...(random === undefined ? {} : { random }),
      },
      signal,
    );
    this.registered = true;
    this.deleted = false;
    this.seen(node);
    if (made) {
      metrics?.registeredNew(clock.monotonic());
      for (const event of nodeEvents(this.options.nodeName, undefined, node.status ?? {})) this.event(event);
      this.reported(true);
    } else {
      this.reported(false);
    }
  }

  private async sync(facts: MachineFacts, again: boolean, signal: AbortSignal): Promise<void> {
    const { api, clock } = this.deps;
    const { nodeName } = this.options;
    // What the watch says, and after a failure what the server says: the watch may be what is behind.
    if (again || this.node === undefined)
      this.seen(await api.get<Node>(resources.nodes, { name: nodeName }, signal), true);
    const base = this.node;
    if (base === undefined) return;
    const before = base.status;
    const wanted = await this.compute(facts, before, signal);
    const { patch, changed } = nodeStatusPatch(before ?? {}, wanted);
    const metadata = metadataUpkeep(base, this.options, facts);
    this.tellOfReboot(before, wanted);
    const due = this.reportedAt === undefined || clock.monotonic() - this.reportedAt >= this.reportAfterMs;
    if (!changed && metadata === undefined && !due) {
      this.identityWritten = true;
      return;
    }
    const target = { name: nodeName, subresource: 'status' };
    const body = metadata === undefined ? patch : { metadata, ...patch };
    const written = await api.patch<Node>(resources.nodes, target, body, 'strategic', signal);
    this.identityWritten = true;
    this.reported(changed);
    this.seen(written);
    for (const event of nodeEvents(nodeName, before ?? {}, wanted)) {
      if (event.reason !== 'Rebooted') this.event(event);
    }
  }

  /**
   * When the status is reported again although nothing changed (tryUpdateNodeStatus): after a change the time is drawn
   * from half to one and a half of it, so that nodes which changed together do not report together; then it is fixed.
   */
  private reported(changed: boolean): void {
    const { clock, random = Math.random } = this.deps;
    const { statusReportMs } = this.options;
    const first = this.reportedAt === undefined;
    this.reportedAt = clock.monotonic();
    this.reportAfterMs = statusReportMs * (changed || first ? 0.5 + random() : 1);
    if (changed || !first) return;
    // A restart reports when its predecessor would have: not at once if nothing has changed.
    const heard = parseTime(conditionOf(this.node?.status?.conditions, 'Ready')?.lastHeartbeatTime);
    const age = heard === undefined ? statusReportMs : clock.now() - heard;
    this.reportAfterMs = age < 0 || age >= statusReportMs ? 0 : this.reportAfterMs;
  }

  /** The API is back: what it says of this node is set right now, not at the next round. */
  private recovered(): void {
    this.doubtfulUntil = this.deps.clock.monotonic() + DOUBTFUL_MS;
    this.refresh();
  }

  /** The Node is gone. kubelet does not make it again while it runs, and tells so with each try; here once. */
  private lost(): void {
    const { logger } = this.deps;
    const { nodeName, register, registerAgain } = this.options;
    this.node = undefined;
    this.identityWritten = false;
    this.reportedAt = undefined;
    if (registerAgain || !register) {
      this.registered = false;
      logger.warn({ node: nodeName }, 'the Node was deleted');
    } else if (!this.deleted) {
      this.deleted = true;
      logger.error(
        { node: nodeName },
        'the Node was deleted; its status and lease are no longer written. Restart deckhand to register it again',
      );
    }
  }

  private changed({ previous, current }: Change<Node>): void {
    if (current === undefined) {
      if (!this.registered || previous?.metadata.uid !== this.node?.metadata.uid) return;
      this.lost();
      this.refresh();
      return;
    }
    if (this.deleted) {
      // Somebody made it again: it is kept as one that was made for this node.
      this.deleted = false;
      this.registered = false;
      this.refresh();
    }
    this.seen(current);
    this.lookForOthers(current);
    // The node controller could not see the lease for a while: no need to leave it at that until the next round.
    if (this.registered && conditionOf(current.status?.conditions, 'Ready')?.status === 'Unknown') this.refresh();
  }

  /** Takes in what the API tells, unless it is older than what is known. */
  private seen(node: Node | undefined, sure = false): void {
    if (node === undefined || (!sure && isOlder(node, this.node))) return;
    this.node = node;
    if (this.ready) this.deps.metrics?.ready(this.deps.clock.monotonic());
    const unschedulable = node.spec?.unschedulable === true;
    if (unschedulable === this.unschedulable) return;
    this.unschedulable = unschedulable;
    this.event(statusEvent(this.options.nodeName, unschedulable ? 'NodeNotSchedulable' : 'NodeSchedulable'));
  }

  private lookForOthers(node: Node): void {
    const other = node.status?.nodeInfo;
    const { facts } = this;
    if (!this.identityWritten || other === undefined || facts === undefined || other.systemUUID === '') return;
    if (isOlder(node, this.node) || sameMachine(other, facts)) return;
    const { machineID, systemUUID, bootID } = other;
    this.conflict.foreignIdentity({ machineID, systemUUID, bootID });
  }

  private async compute(
    machine: MachineFacts,
    previous: NodeStatus | undefined,
    signal: AbortSignal,
  ): Promise<NodeStatus> {
    const { deps, options } = this;
    const [runtime, pressures] = await Promise.all([
      deps.runtime.read(signal),
      deps.pressure.read(signal),
      this.resolve(signal),
    ]);
    return nodeStatus(
      {
        machine,
        ips: this.findIPs(),
        nodefs: deps.pressure.nodeFilesystem,
        runtime,
        unhealthy: deps.unhealthy?.() ?? [],
        shuttingDown: deps.shuttingDown?.() ?? false,
        pressures,
        allocatable: deps.allocatable,
        volumesInUse: deps.volumesInUse?.(),
        devices: deps.devices?.(),
      },
      options,
      previous,
      { now: deps.clock.now(), monotonic: deps.clock.monotonic() },
    );
  }

  private findIPs(): FoundIPs {
    const { nodeIPs: configured, nodeName } = this.options;
    const addresses = this.deps.machine.addresses();
    const found = nodeIPs({ configured, nodeName, addresses, resolved: this.resolved });
    const problem = 'problem' in found ? found.problem : undefined;
    if (problem !== undefined && problem !== this.problem) {
      this.deps.logger.error({ problem }, 'the address of this node is not known');
    }
    this.problem = problem;
    return found;
  }

  private tellOfClock(): void {
    const { clock, logger } = this.deps;
    const jump = this.clockWatch.look(clock.now(), clock.monotonic());
    if (jump === undefined) return;
    const seconds = Math.round(Math.abs(jump) / 1000);
    logger.warn(
      { jumpMs: Math.round(jump) },
      `the wall clock was set ${jump > 0 ? 'forward' : 'back'} by ${seconds} s, or the machine slept; deadlines go on by the monotonic clock`,
    );
  }

  private tellOfReboot(before: NodeStatus | undefined, wanted: NodeStatus): void {
    if (this.rebootTold) return;
    const reboot = nodeEvents(this.options.nodeName, before, wanted).find(({ reason }) => reason === 'Rebooted');
    if (reboot === undefined) return;
    this.rebootTold = true;
    this.event(reboot);
  }

  private event(event: NodeEvent): void {
    const { nodeName } = this.options;
    this.deps.events.event(nodeReference(nodeName), event.type, event.reason, event.message);
  }

  private pause(delayMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel();
        this.wake = undefined;
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = this.deps.clock.after(delayMs, done);
      this.wake = done;
      signal.addEventListener('abort', done, { once: true });
      if (signal.aborted || this.woken) done();
    });
  }
}

/** What events about the node are about. kubectl describe looks for the name where other objects have their UID. */
export function nodeReference(nodeName: string): { apiVersion: string; kind: string; name: string; uid: string } {
  return { apiVersion: 'v1', kind: 'Node', name: nodeName, uid: nodeName };
}

/** By resource version, which is a number since Kubernetes 1.35 says so and was one before; another Node is newer. */
function isOlder(node: Node, known: Node | undefined): boolean {
  if (known === undefined || known.metadata.uid !== node.metadata.uid) return false;
  const [a, b] = [node.metadata.resourceVersion ?? '', known.metadata.resourceVersion ?? ''];
  return /^\d+$/.test(a) && /^\d+$/.test(b) && BigInt(a) < BigInt(b);
}
