import type { ApiClient } from '../cluster/port.ts';
import type { RealFiles } from '../host/files/real.ts';
import type { Node } from '../model/node.ts';
import { resources } from '../model/resource.ts';
import { isStaticPod } from '../model/static-pod.ts';
import { initialLabels } from '../node/node-registration.ts';
import type { PressureKind } from '../node/pressure.ts';
import { admitPod } from '../pods/admit/admit-pod.ts';
import type { PodAdmitterDeps } from '../pods/admit/pod-admitter.ts';
import type { Foundation } from './foundation.ts';
import type { Machine } from './machine.ts';

export interface AdmissionDeps {
  readonly api: ApiClient;
  readonly machine: Machine;
  /** The Node as the API has it; undefined before it is known. */
  readonly node: () => Node | undefined;
  /** What the node is short of now; its conditions in the API may be seconds behind. */
  readonly pressures: () => ReadonlySet<PressureKind>;
  /** The machine is going down. */
  readonly shuttingDown: () => boolean;
}

const PRESSURE: Readonly<Record<PressureKind, string>> = {
  memory: 'MemoryPressure',
  disk: 'DiskPressure',
  pid: 'PIDPressure',
};
const APPARMOR = '/sys/module/apparmor/parameters/enabled';

/** Node admission on what the API says of this node, the machine and the configuration. */
export async function podAdmission(
  { config }: Foundation,
  files: Pick<RealFiles, 'read'>,
  { api, machine, node, pressures, shuttingDown }: AdmissionDeps,
): Promise<Pick<PodAdmitterDeps, 'admit' | 'refreshNode'>> {
  const appArmorEnabled = await files.read(APPARMOR).then(
    (text) => text.toString().startsWith('Y'),
    () => false,
  );
  // Static pods run on a node that has never seen its API; nobody but the API sends the others.
  const unregistered: Node = {
    metadata: {
      name: config.nodeName,
      labels: initialLabels({ nodeName: config.nodeName, labels: config.node.labels }, machine.facts),
    },
    spec: { taints: [...config.node.taints] },
    status: { allocatable: machine.allocatableNow },
  };
  let readAnew: Node | undefined;
  return {
    admit: (pod, others) => {
      const known = readAnew ?? node() ?? (isStaticPod(pod) ? unregistered : undefined);
      readAnew = undefined;
      if (known === undefined) return undefined;
      return admitPod(pod, others, {
        node: known,
        pressure: [...pressures()].map((kind) => PRESSURE[kind]),
        allowedUnsafeSysctls: config.pods.allowedUnsafeSysctls,
        kernelVersion: machine.facts.kernelVersion,
        appArmorEnabled,
        shuttingDown: shuttingDown(),
      });
    },
    refreshNode: async () => {
      readAnew = await api.get<Node>(resources.nodes, { name: config.nodeName });
    },
  };
}
