import type { ApiClient } from '../cluster/port.ts';
import type { MachineFacts } from '../host/machine/port.ts';
import { RetryDelays } from '../kit/backoff.ts';
import type { Clock } from '../kit/clock.ts';
import { hasCode, messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { Node, NodeStatus, Taint } from '../model/node.ts';
import { resources } from '../model/resource.ts';
import { isHugepages, resetOf } from './extended-resources.ts';
import { isSpecified } from './node-addresses.ts';
import { quantityChanges } from './node-status-patch.ts';

export interface RegistrationOptions {
  readonly nodeName: string;
  /** --node-labels. */
  readonly labels: Readonly<Record<string, string>>;
  /** registerWithTaints, and the one of an external cloud provider: given when the Node is made, and never again. */
  readonly taints: readonly Taint[];
  readonly providerID: string | undefined;
  /** False: the Node is somebody else's to create; it is waited for. */
  readonly register: boolean;
  /** --cloud-provider=external: a cloud controller manager initialises the Node. */
  readonly externalCloudProvider: boolean;
  /** --node-ip. */
  readonly nodeIPs: readonly string[];
  /** What a device manager's checkpoint names; undefined: there is no checkpoint. */
  readonly pluggedResources?: readonly string[] | undefined;
}

type Platform = Pick<MachineFacts, 'operatingSystem' | 'architecture'>;

const ATTACH_DETACH = 'volumes.kubernetes.io/controller-managed-attach-detach';
const PROVIDED_NODE_IP = 'alpha.kubernetes.io/provided-node-ip';

/** Taken from the Node as this process would make it, on a Node that is there already (updateDefaultLabels). */
const RECONCILED_LABELS = [
  'kubernetes.io/hostname',
  'topology.kubernetes.io/zone',
  'topology.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'failure-domain.beta.kubernetes.io/region',
  'node.kubernetes.io/instance-type',
  'beta.kubernetes.io/instance-type',
  'kubernetes.io/os',
  'kubernetes.io/arch',
  'beta.kubernetes.io/os',
  'beta.kubernetes.io/arch',
];

/** Labels of a new Node; --node-labels go over the ones that the node finds out itself. */
export function initialLabels(
  { nodeName, labels }: Pick<RegistrationOptions, 'nodeName' | 'labels'>,
  machine: Platform,
): Record<string, string> {
  return {
    'kubernetes.io/hostname': nodeName,
    'kubernetes.io/os': machine.operatingSystem,
    'kubernetes.io/arch': machine.architecture,
    'beta.kubernetes.io/os': machine.operatingSystem,
    'beta.kubernetes.io/arch': machine.architecture,
    ...labels,
  };
}

export function initialNode(options: RegistrationOptions, machine: Platform, status: NodeStatus): Node {
  const { nodeName, providerID, taints } = options;
  const nodeIP = providedNodeIP(options);
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: nodeName,
      labels: initialLabels(options, machine),
      annotations: {
        [ATTACH_DETACH]: 'true',
        ...(nodeIP === undefined ? {} : { [PROVIDED_NODE_IP]: nodeIP }),
      },
    },
    spec: {
      ...(taints.length === 0 ? {} : { taints: [...taints] }),
      ...(providerID === undefined ? {} : { providerID }),
    },
    status,
  };
}

/**
 * The strategic merge patch of nodes/status that makes a Node that is there this process's (tryRegisterWithAPIServer):
 * default labels, the attach-detach annotation, extended resources at 0, sizes of huge pages as they are. Other labels,
 * taints and providerID are given at creation only. Undefined: nothing to do.
 */
export function reconciliation(
  node: Node,
  options: RegistrationOptions,
  machine: Platform,
  own: Pick<NodeStatus, 'capacity' | 'allocatable'>,
): object | undefined {
  const wanted = initialLabels(options, machine);
  const labels: Record<string, string> = {};
  for (const key of RECONCILED_LABELS) {
    const value = wanted[key];
    if (value !== undefined && value !== '' && node.metadata.labels?.[key] !== value) labels[key] = value;
  }
  const annotated = node.metadata.annotations?.[ATTACH_DETACH] === 'true';
  const metadata = {
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
    ...(annotated ? {} : { annotations: { [ATTACH_DETACH]: 'true' } }),
  };
  const status: Record<string, unknown> = {};
  const names = Object.keys(node.status?.capacity ?? {});
  const zero = Object.fromEntries(resetOf(names, options.pluggedResources).map((name) => [name, '0']));
  for (const field of ['capacity', 'allocatable'] as const) {
    const has = node.status?.[field] ?? {};
    const hugepages = Object.entries(own[field] ?? {}).filter(([name]) => isHugepages(name));
    const others = Object.entries(has).filter(([name]) => !isHugepages(name));
    const changes = quantityChanges(has, { ...Object.fromEntries([...others, ...hugepages]), ...zero });
    if (changes !== undefined) status[field] = changes;
  }
  const patch = {
    ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
    ...(Object.keys(status).length === 0 ? {} : { status }),
  };
  return Object.keys(patch).length === 0 ? undefined : patch;
}

/**
 * What a status update keeps true of the Node's metadata (updateNode, NodeAddress): the platform's labels, and for the
 * cloud controller manager the address that --node-ip names. Undefined: it is true already.
 */
export function metadataUpkeep(node: Node, options: RegistrationOptions, machine: Platform): object | undefined {
  const labels: Record<string, string> = {};
  if (node.metadata.labels?.['kubernetes.io/os'] !== machine.operatingSystem) {
    labels['kubernetes.io/os'] = machine.operatingSystem;
  }
  if (node.metadata.labels?.['kubernetes.io/arch'] !== machine.architecture) {
    labels['kubernetes.io/arch'] = machine.architecture;
  }
  const nodeIP = providedNodeIP(options);
  const annotated = node.metadata.annotations?.[PROVIDED_NODE_IP] === nodeIP;
  if (Object.keys(labels).length === 0 && annotated) return undefined;
  return {
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
    ...(annotated ? {} : { annotations: { [PROVIDED_NODE_IP]: nodeIP ?? null } }),
  };
}

function providedNodeIP({ externalCloudProvider, nodeIPs }: RegistrationOptions): string | undefined {
  const specified = nodeIPs.filter(isSpecified);
  return externalCloudProvider && isSpecified(nodeIPs[0]) ? specified.join(',') : undefined;
}

export interface RegistrationDeps {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly machine: Platform;
  /** The Node as a cache has it: whether making one is worth a try. */
  readonly known: () => Node | undefined;
  /** As of a Node that nobody has written to. Computed for each try, so that what is created is true. */
  readonly status: () => Promise<NodeStatus>;
  readonly random?: () => number;
}

export interface Registered {
  readonly node: Node;
  /** This process made it. */
  readonly made: boolean;
}

/** Creates the Node or takes over the one that is there; tries until it has one. Rejects only when aborted. */
export async function registerNode(
  options: RegistrationOptions,
  deps: RegistrationDeps,
  signal: AbortSignal,
): Promise<Registered> {
  const { clock, logger } = deps;
  const name = options.nodeName;
  const random = deps.random === undefined ? {} : { random: deps.random };
  // kubelet_node_status.go: 100 ms doubled to 7 s.
  const delays = new RetryDelays({ baseMs: 100, maxMs: 7000, jitter: 0.2, ...random });
  let waits = false;
  for (;;) {
    try {
      const made = options.register && deps.known() === undefined ? await make(options, deps, signal) : undefined;
      if (made !== undefined) {
        logger.info({ node: name }, 'registered the node');
        return { node: made, made: true };
      }
      return { node: await takeOver(options, deps, signal), made: false };
    } catch (error) {
      signal.throwIfAborted();
      const missing = hasCode(error, 'NotFound');
      if (missing && !options.register) {
        if (!waits) logger.info({ node: name }, 'waiting for the Node to be made: registerNode is false');
        waits = true;
      } else {
        const level = missing || hasCode(error, 'AlreadyExists', 'Conflict') ? 'debug' : 'warn';
        logger[level]({ node: name, error: messageOf(error) }, 'could not register the node; it is retried');
      }
      await clock.sleep(delays.next(), signal);
    }
  }
}

/** Undefined: there is a Node already, or none may be made. */
async function make(
  options: RegistrationOptions,
  { api, machine, status }: RegistrationDeps,
  signal: AbortSignal,
): Promise<Node | undefined> {
  try {
    const node = initialNode(options, machine, await status());
    return await api.create<Node>(resources.nodes, {}, node, signal);
  } catch (error) {
    if (hasCode(error, 'AlreadyExists')) return undefined;
    if (!hasCode(error, 'Forbidden')) throw error;
    // One who may not create Nodes may still have been given one.
    const given = await api.get<Node>(resources.nodes, { name: options.nodeName }, signal).catch(() => undefined);
    if (given === undefined) throw error;
    return undefined;
  }
}

async function takeOver(options: RegistrationOptions, deps: RegistrationDeps, signal: AbortSignal): Promise<Node> {
  const { api, machine, logger } = deps;
  const target = { name: options.nodeName };
  const known = await api.get<Node>(resources.nodes, target, signal);
  // A Node that is not this process's to register is not its to reconcile either.
  const patch = options.register ? reconciliation(known, options, machine, await deps.status()) : undefined;
  logger.info({ node: options.nodeName, changed: patch !== undefined }, 'took over the Node that was there');
  if (patch === undefined) return known;
  return api.patch<Node>(resources.nodes, { ...target, subresource: 'status' }, patch, 'strategic', signal);
}
