import type { ContainerSecurity } from '../../src/host/cri/port.ts';

/** A container that nothing is said of: capabilities and root as the runtime has them, and namespaces as a pod's. */
export const plainSecurity: ContainerSecurity = {
  addCapabilities: [],
  dropCapabilities: [],
  privileged: false,
  namespaceOptions: { network: 'POD', pid: 'CONTAINER', ipc: 'POD' },
  readonlyRootfs: false,
  supplementalGroups: [],
  noNewPrivs: false,
  maskedPaths: [],
  readonlyPaths: [],
};
