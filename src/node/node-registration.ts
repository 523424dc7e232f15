import type { ApiClient } from '../cluster/port.ts';
import type { MachineFacts } from '../host/machine/port.ts';
import { RetryDelays } from '../kit/backoff.ts';
import type { Clock } from '../kit/clock.ts';
import { hasCode, messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { Node, NodeStatus, Taint } from '../model/node.ts';
import { resources } from '../model/resource.ts';

export interface RegistrationOptions {
  readonly nodeName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly Taint[];
  readonly providerID: string | undefined;
  /** False: the Node is somebody else's to create; it is waited for. */
  readonly register: boolean;
}

const ATTACH_DETACH = 'volumes.kubernetes.io/controller-managed-attach-detach';

/** Labels that a node keeps true of itself; others are set when the Node is made and then left alone. */
export function defaultLabels(
  nodeName: string,
  machine: Pick<MachineFacts, 'operatingSystem' | 'architecture'>,
): Record<string, string> {
  return {
    'kubernetes.io/hostname': nodeName,
    'kubernetes.io/os': machine.operatingSystem,
    'kubernetes.io/arch': machine.architecture,
    'beta.kubernetes.io/os': machine.operatingSystem,
    'beta.kubernetes.io/arch': machine.architecture,
  };
}

export function initialNode(
  options: RegistrationOptions,
  machine: Pick<MachineFacts, 'operatingSystem' | 'architecture'>,
  status: NodeStatus,
): Node {
  const { nodeName, taints, providerID } = options;
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: nodeName,
      labels: { ...defaultLabels(nodeName, machine), ...options.labels },
      annotations: { [ATTACH_DETACH]: 'true' },
    },
    spec: {
      ...(taints.length === 0 ? {} : { taints: [...taints] }),
      ...(providerID === undefined ? {} : { providerID }),
    },
    status,
  };
}

/** The merge patch that brings an existing Node's metadata and spec up to date, or undefined. */
export function reconciliation(
  node: Node,
  options: RegistrationOptions,
  machine: Pick<MachineFacts, 'operatingSystem' | 'architecture'>,
): object | undefined {
  const labels: Record<string, string> = {};
  for (const [key, value] of Object.entries(defaultLabels(options.nodeName, machine))) {
    if (node.metadata.labels?.[key] !== value) labels[key] = value;
  }
  const annotated = node.metadata.annotations?.[ATTACH_DETACH] === 'true';
  const provided = options.providerID === undefined || (node.spec?.providerID ?? '') !== '';
  if (Object.keys(labels).length === 0 && annotated && provided) return undefined;
  return {
    metadata: {
      ...(Object.keys(labels).length === 0 ? {} : { labels }),
      ...(annotated ? {} : { annotations: { [ATTACH_DETACH]: 'true' } }),
    },
    ...(provided ? {} : { spec: { providerID: options.providerID } }),
  };
}

/** Creates the Node or takes over the one that is there; tries until it has one. Rejects only when aborted. */
export async function registerNode(
  options: RegistrationOptions,
  deps: {
    readonly api: ApiClient;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly machine: Pick<MachineFacts, 'operatingSystem' | 'architecture'>;
    /** Computed for each try, so that what is created is true. */
    readonly status: () => Promise<NodeStatus>;
    readonly random?: () => number;
  },
  signal: AbortSignal,
): Promise<Node> {
  const { api, clock, logger, machine } = deps;
  const name = options.nodeName;
  const random = deps.random === undefined ? {} : { random: deps.random };
  // kubelet_node_status.go: 100 ms doubled to 7 s.
  const delays = new RetryDelays({ baseMs: 100, maxMs: 7000, jitter: 0.2, ...random });
  for (;;) {
    try {
      const known = await found(api, name, signal);
      if (known === undefined) {
        const made = await api.create<Node>(
          resources.nodes,
          {},
          initialNode(options, machine, await deps.status()),
          signal,
        );
        logger.info({ node: name }, 'registered the node');
        return made;
      }
      const patch = reconciliation(known, options, machine);
      logger.info({ node: name, changed: patch !== undefined }, 'took over the Node that was there');
      return patch === undefined ? known : await api.patch<Node>(resources.nodes, { name }, patch, 'merge', signal);
    } catch (error) {
      signal.throwIfAborted();
      const raced = hasCode(error, 'AlreadyExists', 'Conflict');
      const level = raced ? 'debug' : 'warn';
      logger[level]({ node: name, error: messageOf(error) }, 'could not register the node; it is retried');
      await clock.sleep(delays.next(), signal);
    }
  }

  async function found(client: ApiClient, node: string, stop: AbortSignal): Promise<Node | undefined> {
    try {
      return await client.get<Node>(resources.nodes, { name: node }, stop);
    } catch (error) {
      if (options.register && hasCode(error, 'NotFound')) return undefined;
      throw error;
    }
  }
}
