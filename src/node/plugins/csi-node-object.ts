import type { CsiNodeInfo } from '../../host/csi/port.ts';
import { CodedError } from '../../kit/errors.ts';
import type { Node } from '../../model/node.ts';
import type { CSINode, CSINodeDriver } from '../../model/storage.ts';

/** What CSINode and Node say of CSI drivers, worked out (pkg/volume/csi/nodeinfomanager). Pure. */

/** On Node: JSON of driver name → the driver's name for the node. */
export const NODE_ID_ANNOTATION = 'csi.volume.kubernetes.io/nodeid';
const MIGRATED_ANNOTATION = 'storage.alpha.kubernetes.io/migrated-plugins';
/** In-tree plugins whose volumes are served by CSI drivers on every node since 1.25 and later. */
const MIGRATED = [
  'kubernetes.io/aws-ebs',
  'kubernetes.io/azure-disk',
  'kubernetes.io/azure-file',
  'kubernetes.io/cinder',
  'kubernetes.io/gce-pd',
  'kubernetes.io/portworx-volume',
  'kubernetes.io/vsphere-volume',
].join(',');
const MOST_VOLUMES = 2 ** 31 - 1;

export function newCsiNode(node: Node): CSINode {
  const { name = '', uid = '' } = node.metadata;
  return {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'CSINode',
    metadata: {
      name,
      annotations: { [MIGRATED_ANNOTATION]: MIGRATED },
      ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name, uid }],
    },
    spec: { drivers: [] },
  };
}

/** Another machine of this name may have left one. */
export function isOwnedBy({ metadata }: CSINode, node: Node): boolean {
  const { name, uid } = node.metadata;
  return (metadata.ownerReferences ?? []).some(
    (owner) => owner.kind === 'Node' && owner.name === name && owner.uid === uid,
  );
}

/** The object with the migration annotation; undefined when it has it already. */
export function withMigration(object: CSINode): CSINode | undefined {
  const { annotations = {} } = object.metadata;
  if (annotations[MIGRATED_ANNOTATION] === MIGRATED) return undefined;
  return {
    ...object,
    metadata: { ...object.metadata, annotations: { ...annotations, [MIGRATED_ANNOTATION]: MIGRATED } },
  };
}

/** The object with this driver in it; undefined when nothing changes. */
export function withDriver(object: CSINode, name: string, info: CsiNodeInfo): CSINode | undefined {
  const others = object.spec.drivers.filter((driver) => driver.name !== name);
  const wanted = driverEntry(name, info);
  const has = object.spec.drivers.find((driver) => driver.name === name);
  const unchanged =
    has !== undefined &&
    has.nodeID === wanted.nodeID &&
    [...(has.topologyKeys ?? [])].sort().join() === (wanted.topologyKeys ?? []).join() &&
    has.allocatable?.count === wanted.allocatable?.count;
  const migrated = withMigration(object);
  if (unchanged && migrated === undefined) return undefined;
  return { ...(migrated ?? object), spec: { ...object.spec, drivers: [...others, wanted] } };
}

/** The object without this driver; undefined when it has none of that name. */
export function withoutDriver(object: CSINode, name: string): CSINode | undefined {
  const drivers = object.spec.drivers.filter((driver) => driver.name !== name);
  return drivers.length === object.spec.drivers.length ? undefined : { ...object, spec: { ...object.spec, drivers } };
}

function driverEntry(name: string, { nodeId, maxVolumes, topology }: CsiNodeInfo): CSINodeDriver {
  const count = Math.min(maxVolumes, MOST_VOLUMES);
  return {
    name,
    nodeID: nodeId,
    topologyKeys: Object.keys(topology).sort(),
    ...(count > 0 ? { allocatable: { count } } : {}),
  };
}

type MetadataPatch = { annotations?: Record<string, string | null>; labels?: Record<string, string> };

/**
 * What a driver's registration changes of the Node's metadata; undefined: nothing. Throws Conflict when the driver is
 * somewhere else than the Node says.
 */
export function nodeMetadataWith(node: Node, name: string, info: CsiNodeInfo): MetadataPatch | undefined {
  const { labels = {} } = node.metadata;
  for (const [key, value] of Object.entries(info.topology)) {
    const has = labels[key];
    if (has === undefined || has === value) continue;
    throw new CodedError(
      'Conflict',
      `detected topology value collision: driver reported "${key}":"${value}" but existing label is "${key}":"${has}"`,
      { driver: name, label: key },
    );
  }
  const ids = nodeIds(node);
  const missing = Object.entries(info.topology).filter(([key]) => labels[key] === undefined);
  const patch: MetadataPatch = {};
  if (ids[name] !== info.nodeId) {
    patch.annotations = { [NODE_ID_ANNOTATION]: JSON.stringify({ ...ids, [name]: info.nodeId }) };
  }
  if (missing.length > 0) patch.labels = Object.fromEntries(missing);
  return Object.keys(patch).length === 0 ? undefined : patch;
}

/** What a driver's end changes of the Node's metadata; its topology labels stay, as others may go by them. */
export function nodeMetadataWithout(node: Node, name: string): MetadataPatch | undefined {
  const { [name]: gone, ...others } = nodeIds(node);
  if (gone === undefined) return undefined;
  const text = Object.keys(others).length === 0 ? null : JSON.stringify(others);
  return { annotations: { [NODE_ID_ANNOTATION]: text } };
}

function nodeIds(node: Node): Readonly<Record<string, string>> {
  const text = node.metadata.annotations?.[NODE_ID_ANNOTATION] ?? '';
  if (text === '') return {};
  try {
    return JSON.parse(text) as Record<string, string>;
  } catch (error) {
    throw new CodedError(
      'InvalidObject',
      `Node ${node.metadata.name}: annotation ${NODE_ID_ANNOTATION} ${JSON.stringify(text)} must be JSON of names`,
      { node: node.metadata.name },
      error,
    );
  }
}
