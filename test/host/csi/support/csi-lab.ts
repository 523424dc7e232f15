import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import type { Node } from '../../../../src/model/node.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../../../src/model/objects.ts';
import type { Volume } from '../../../../src/model/pod.ts';
import { resources } from '../../../../src/model/resource.ts';
import type { CSIDriver, CSINode, CSIPersistentVolumeSource, VolumeAttachment } from '../../../../src/model/storage.ts';
import { CsiDriver, type CsiDriverOptions } from '../../../harness/csi/csi-driver.ts';
import type { HarnessNode } from '../../../harness/harness-node.ts';
import { waitFor } from '../../../harness/wait-for.ts';

export interface VolumeOptions {
  readonly driver: CsiDriver;
  readonly driverName: string;
  readonly sizeBytes?: number;
  readonly volumeMode?: 'Filesystem' | 'Block';
  readonly accessModes?: string[];
  readonly mountOptions?: string[];
  readonly source?: Partial<CSIPersistentVolumeSource>;
}

/** CSI drivers on a node, and what a cluster's controllers would do for their volumes: provision, bind, attach, resize. */
export class CsiLab {
  readonly node: HarnessNode;
  private readonly drivers: CsiDriver[] = [];

  constructor(node: HarnessNode) {
    this.node = node;
  }

  get rootDir(): string {
    return `${this.node.run.paths.libDir}/kubelet`;
  }

  /** A driver that is not started yet. */
  driver(name: string, options: Partial<CsiDriverOptions> = {}): CsiDriver {
    const stateDir = `${this.node.run.paths.libDir}/csi/${name}`;
    mkdirSync(stateDir, { recursive: true });
    const driver = new CsiDriver({ name, rootDir: this.rootDir, stateDir, ...options });
    this.drivers.push(driver);
    return driver;
  }

  describe(name: string, spec: CSIDriver['spec']): Promise<CSIDriver> {
    return this.node.deckhand.api.create<CSIDriver>(resources.csidrivers, { metadata: { name }, spec });
  }

  /** Waits until the cluster knows that this node has the driver. */
  registered(name: string): Promise<CSINode['spec']['drivers'][number]> {
    return waitFor(`CSI driver ${name} to be registered`, async () => {
      const { drivers } = (await this.csiNode()).spec;
      return drivers.find((driver) => driver.name === name);
    });
  }

  csiNode(): Promise<CSINode> {
    return this.node.deckhand.api.get<CSINode>(resources.csinodes, undefined, this.node.deckhand.nodeName);
  }

  nodeObject(): Promise<Node> {
    return this.node.deckhand.api.get<Node>(resources.nodes, undefined, this.node.deckhand.nodeName);
  }

  /** Makes a volume with its PersistentVolume and a claim of the same name that is bound to it. */
  async volume(name: string, options: VolumeOptions): Promise<Volume> {
    const { api } = this.node.deckhand;
    const { driver, driverName, sizeBytes = 1 << 20, volumeMode = 'Filesystem', source } = options;
    const accessModes = options.accessModes ?? ['ReadWriteOnce'];
    await driver.createVolume(name, sizeBytes);
    const capacity = { storage: String(sizeBytes) };
    await api.create<PersistentVolume>(resources.persistentvolumes, {
      metadata: { name: `pv-${name}` },
      spec: {
        capacity,
        accessModes,
        volumeMode,
        storageClassName: '',
        claimRef: { namespace: 'default', name },
        ...(options.mountOptions === undefined ? {} : { mountOptions: options.mountOptions }),
        csi: { driver: driverName, volumeHandle: name, ...source },
      },
    });
    await api.create<PersistentVolumeClaim>(resources.persistentvolumeclaims, {
      metadata: { name, namespace: 'default' },
      spec: {
        accessModes,
        volumeMode,
        storageClassName: '',
        volumeName: `pv-${name}`,
        resources: { requests: capacity },
      },
    });
    await waitFor(`claim ${name} to be bound`, async () => (await this.claim(name)).status?.phase === 'Bound');
    return { name: 'vol', persistentVolumeClaim: { claimName: name } };
  }

  claim(name: string): Promise<PersistentVolumeClaim> {
    return this.node.deckhand.api.get<PersistentVolumeClaim>(resources.persistentvolumeclaims, 'default', name);
  }

  /** What the attach controller and the external attacher do, once the node says that it has the volume in use. */
  async attach(driverName: string, handle: string, metadata: Record<string, string> = {}): Promise<void> {
    const { api, nodeName } = this.node.deckhand;
    const unique = `kubernetes.io/csi/${driverName}^${handle}`;
    await waitFor(`${unique} to be in use`, async () => this.inUse(unique));
    const hash = createHash('sha256').update(`${handle}${driverName}${nodeName}`).digest('hex');
    await api.create<VolumeAttachment>(resources.volumeattachments, {
      metadata: { name: `csi-${hash}` },
      spec: { attacher: driverName, nodeName, source: { persistentVolumeName: `pv-${handle}` } },
    });
    await api.patchStatus(resources.volumeattachments, undefined, `csi-${hash}`, {
      attached: true,
      attachmentMetadata: metadata,
    });
    const { volumesAttached = [] } = (await this.nodeObject()).status ?? {};
    const all = [...volumesAttached, { name: unique, devicePath: '' }];
    await api.patchStatus(resources.nodes, undefined, nodeName, { volumesAttached: all });
  }

  async inUse(uniqueName: string): Promise<boolean> {
    return (await this.nodeObject()).status?.volumesInUse?.includes(uniqueName) === true;
  }

  async close(): Promise<void> {
    for (const driver of this.drivers) await driver.close();
  }
}
