import type { ApiClient, EventRecorder } from '../cluster/port.ts';
import type { FilesystemCapacity, MachineFacts, MachinePort } from '../host/machine/port.ts';
import { RetryDelays } from '../kit/backoff.ts';
import type { Clock } from '../kit/clock.ts';
import { hasCode, messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import { isConditionTrue } from '../model/conditions.ts';
import type { ResourceList } from '../model/meta.ts';
import type { Node, NodeStatus } from '../model/node.ts';
import { resources } from '../model/resource.ts';
import { nodeIPs } from './node-addresses.ts';
import { nodeEvents } from './node-events.ts';
import { NodeLease } from './node-lease.ts';
import { type RegistrationOptions, registerNode } from './node-registration.ts';
import { type NodeStatusOptions, nodeCapacity, nodeStatus } from './node-status.ts';
import { nodeStatusPatch } from './node-status-patch.ts';
import { afterReading, type PressureState, type Readings } from './pressure.ts';
import type { RuntimeFactsSource } from './runtime-facts.ts';

export interface NodeAgentOptions extends NodeStatusOptions, RegistrationOptions {
  /** nodeStatusUpdateFrequency and nodeStatusReportFrequency, milliseconds. */
  readonly statusUpdateMs: number;
  readonly statusReportMs: number;
  readonly leaseSeconds: number;
  /** The directory whose file system is the node's ephemeral storage. */
  readonly rootDir: string;
  /** evictionHard, for the pressure conditions. */
  readonly evictionHard: Readonly<Record<string, string>>;
}

export interface NodeAgentDeps {
  readonly api: ApiClient;
  readonly machine: MachinePort;
  readonly runtime: Pick<RuntimeFactsSource, 'read'>;
  /** Capacity without what is reserved (pods/resources nodeAllocatable). */
  readonly allocatable: (capacity: ResourceList) => ResourceList;
  /** Memory and process ids that are left, where something measures them; the disk is asked here. */
  readonly readings?: () => Promise<Omit<Readings, 'nodefs'>>;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random?: () => number;
}

/** At start the status is computed this often until the node is ready (kubelet fastStatusUpdateOnce)… */
const FAST_MS = 100;
/** …for this long. */
const FAST_FOR_MS = 120_000;

/** Registers the node, keeps its status true and its lease alive. */
export class NodeAgent {
  private readonly options: NodeAgentOptions;
  private readonly deps: NodeAgentDeps;
  private readonly lease: NodeLease;
  private node: Node | undefined;
  private pressure: PressureState = {};
  private reportDue = 0;
  private wake: (() => void) | undefined;

  constructor(options: NodeAgentOptions, deps: NodeAgentDeps) {
    this.options = options;
    this.deps = deps;
    const { api, clock, logger, random } = deps;
    this.lease = new NodeLease(
      { nodeName: options.nodeName, durationSeconds: options.leaseSeconds },
      {
        api,
        clock,
        logger,
        nodeUid: () => this.node?.metadata.uid,
        ...(random === undefined ? {} : { random }),
      },
    );
  }

  /** The Node as the API answered last; undefined before it is registered. */
  get current(): Node | undefined {
    return this.node;
  }

  get ready(): boolean {
    return isConditionTrue(this.node?.status?.conditions, 'Ready');
  }

  /** The addresses that pods of this host's network have. Primary first. */
  ips(): readonly string[] {
    return nodeIPs(this.options.nodeIPs, this.deps.machine.addresses());
  }

  /** Computes the status now instead of at the next round: something that it tells of has changed. */
  refresh(): void {
    this.wake?.();
  }

  /** Runs until aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { machine, events } = this.deps;
    const facts = await machine.facts();
    try {
      this.node = await this.register(facts, signal);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    this.event({ type: 'Normal', reason: 'Starting', message: 'Starting kubelet.' }, events);
    await Promise.all([this.keepStatus(facts, signal), this.lease.run(signal)]);
  }

  private async keepStatus(facts: MachineFacts, signal: AbortSignal): Promise<void> {
    const { clock, logger, random = Math.random } = this.deps;
    const delays = new RetryDelays({ baseMs: 200, maxMs: this.options.statusUpdateMs, jitter: 0.2, random });
    const started = clock.monotonic();
    while (!signal.aborted) {
      let delay: number;
      try {
        await this.sync(facts, signal);
        delays.reset();
        const fast = !this.ready && clock.monotonic() - started < FAST_FOR_MS;
        delay = fast ? FAST_MS : this.options.statusUpdateMs;
      } catch (error) {
        if (signal.aborted) return;
        delay = delays.next();
        logger.warn(
          { error: messageOf(error), inMs: Math.round(delay) },
          'could not write the node status; it is retried',
        );
      }
      await this.pause(delay, signal);
    }
  }

  private async sync(facts: MachineFacts, signal: AbortSignal): Promise<void> {
    const { api, clock, events, random = Math.random } = this.deps;
    const { nodeName } = this.options;
    // Asked each time: the node controller writes into the conditions, too (Unknown, when a lease ran out).
    const before = (await this.known(facts, signal)).status;
    const wanted = await this.compute(facts, before);
    const { patch, changed } = nodeStatusPatch(before ?? {}, wanted);
    if (!changed && clock.monotonic() < this.reportDue) return;
    const target = { name: nodeName, subresource: 'status' };
    this.node = await api.patch<Node>(resources.nodes, target, patch, 'strategic', signal);
    // Spread by half to and fro, so that nodes which started together do not report together.
    this.reportDue = clock.monotonic() + this.options.statusReportMs * (0.5 + random());
    for (const event of nodeEvents(nodeName, before, wanted)) this.event(event, events);
  }

  private async known(facts: MachineFacts, signal: AbortSignal): Promise<Node> {
    try {
      this.node = await this.deps.api.get<Node>(resources.nodes, { name: this.options.nodeName }, signal);
    } catch (error) {
      if (!hasCode(error, 'NotFound')) throw error;
      // Somebody deleted the Node under us: it is made anew.
      this.node = await this.register(facts, signal);
    }
    return this.node;
  }

  private register(machine: MachineFacts, signal: AbortSignal): Promise<Node> {
    const { api, clock, logger, random } = this.deps;
    const status = (): Promise<NodeStatus> => this.compute(machine, undefined);
    const deps = { api, clock, logger, machine, status, ...(random === undefined ? {} : { random }) };
    return registerNode(this.options, deps, signal);
  }

  private async compute(machine: MachineFacts, previous: NodeStatus | undefined): Promise<NodeStatus> {
    const { deps, options } = this;
    const [nodefs, runtime, readings] = await Promise.all([
      this.nodefs(),
      deps.runtime.read(),
      deps.readings === undefined ? {} : deps.readings(),
    ]);
    const now = deps.clock.now();
    const limits = {
      thresholds: options.evictionHard,
      memoryBytes: machine.memoryBytes,
      maxPids: machine.maxPids,
    };
    this.pressure = afterReading(
      this.pressure,
      { ...readings, ...(nodefs === undefined ? {} : { nodefs }) },
      limits,
      now,
    );
    const allocatable = deps.allocatable(nodeCapacity(machine, nodefs, options));
    const addresses = deps.machine.addresses();
    return nodeStatus(
      { machine, addresses, nodefs, runtime, pressure: this.pressure, allocatable },
      options,
      previous,
      now,
    );
  }

  private async nodefs(): Promise<FilesystemCapacity | undefined> {
    try {
      return await this.deps.machine.filesystem(this.options.rootDir);
    } catch (error) {
      this.deps.logger.warn({ path: this.options.rootDir, error: messageOf(error) }, 'could not measure the disk');
      return undefined;
    }
  }

  private event(event: { type: 'Normal' | 'Warning'; reason: string; message: string }, events: EventRecorder): void {
    const { nodeName } = this.options;
    // kubelet has used the name for the UID of its node events from the start, and tools select by it.
    events.event(
      { apiVersion: 'v1', kind: 'Node', name: nodeName, uid: nodeName },
      event.type,
      event.reason,
      event.message,
    );
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
      if (signal.aborted) done();
    });
  }
}
