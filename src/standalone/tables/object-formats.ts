import type { KubeObject } from '../../model/meta.ts';
import type { Node } from '../../model/node.ts';
import type {
  ConfigMap,
  Event,
  Lease,
  Namespace,
  PersistentVolume,
  PersistentVolumeClaim,
  PriorityClass,
  RuntimeClass,
  Secret,
  ServiceAccount,
  ServiceCIDR,
} from '../../model/objects.ts';
import type { ResourceType } from '../../model/resource.ts';
import { resources } from '../../model/resource.ts';
import type { EndpointSlice, Service } from '../../model/service.ts';
import type { CSIDriver, CSINode, StorageClass, VolumeAttachment } from '../../model/storage.ts';
import { age } from './human-duration.ts';
import { podFormat } from './pod-format.ts';
import { signingRequestFormat } from './signing-request-format.ts';
import {
  csiDriverCells,
  csiNodeCells,
  storageClassCells,
  storageClassName,
  volumeAttachmentCells,
} from './storage-formats.ts';
import { type Cell, type Column, NONE, type TableFormat, UNKNOWN } from './table.ts';

const nameColumn: Column = { name: 'Name', type: 'string', format: 'name' };
const ageColumn: Column = { name: 'Age', type: 'string' };

function text(name: string, priority = 0): Column {
  return { name, type: 'string', priority };
}

function flag(name: string): Column {
  return { name, type: 'boolean' };
}

/** Name, the kind's own cells, age, and the cells of -o wide. */
function format<T extends KubeObject>(
  columns: readonly Column[],
  cells: (object: T, now: number) => Cell[],
  wide: readonly Column[] = [],
  wideCells: (object: T) => Cell[] = () => [],
  nameOf: (object: T) => string = ({ metadata }) => metadata.name ?? '',
): TableFormat {
  return {
    columns: [nameColumn, ...columns, ageColumn, ...wide],
    cells: (object, now) => [
      nameOf(object as T),
      ...cells(object as T, now),
      age(object.metadata.creationTimestamp, now),
      ...wideCells(object as T),
    ],
  };
}

const FORMATS: Readonly<Record<string, TableFormat>> = {
  [resources.pods.plural]: podFormat,
  [resources.namespaces.plural]: format<Namespace>([text('Status')], ({ status }) => [status?.phase ?? '']),
  [resources.nodes.plural]: format<Node>(
    [text('Status'), text('Roles')],
    (node) => [nodeStatus(node), nodeRoles(node)],
    [
      text('Version'),
      text('Internal-IP', 1),
      text('External-IP', 1),
      text('OS-Image', 1),
      text('Kernel-Version', 1),
      text('Container-Runtime', 1),
    ],
    ({ status }) => [
      status?.nodeInfo?.kubeletVersion ?? '',
      status?.addresses?.find(({ type }) => type === 'InternalIP')?.address ?? NONE,
      status?.addresses?.find(({ type }) => type === 'ExternalIP')?.address ?? NONE,
      status?.nodeInfo?.osImage || UNKNOWN,
      status?.nodeInfo?.kernelVersion || UNKNOWN,
      status?.nodeInfo?.containerRuntimeVersion || UNKNOWN,
    ],
  ),
  [resources.services.plural]: format<Service>(
    [text('Type'), text('Cluster-IP'), text('External-IP'), text('Port(s)')],
    (service) => [
      service.spec.type ?? 'ClusterIP',
      service.spec.clusterIP || NONE,
      externalIp(service),
      servicePorts(service),
    ],
    [text('Selector', 1)],
    ({ spec }) => [pairs(spec.selector)],
  ),
  [resources.configmaps.plural]: format<ConfigMap>([text('Data')], ({ data, binaryData }) => [
    count(data) + count(binaryData),
  ]),
  [resources.secrets.plural]: format<Secret>([text('Type'), text('Data')], ({ type, data }) => [
    type ?? '',
    count(data),
  ]),
  [resources.serviceaccounts.plural]: format<ServiceAccount>([text('Secrets')], ({ secrets }) => [
    secrets?.length ?? 0,
  ]),
  [resources.endpointslices.plural]: format<EndpointSlice>(
    [text('AddressType'), text('Ports'), text('Endpoints')],
    (slice) => [slice.addressType, slicePorts(slice), sliceEndpoints(slice)],
  ),
  [resources.certificatesigningrequests.plural]: signingRequestFormat,
  [resources.leases.plural]: format<Lease>([text('Holder')], ({ spec }) => [spec?.holderIdentity ?? '']),
  [resources.priorityclasses.plural]: format<PriorityClass>(
    [text('Value'), text('Global-Default')],
    ({ value, globalDefault }) => [value, String(globalDefault ?? false)],
    [text('PreemptionPolicy')],
    ({ preemptionPolicy }) => [preemptionPolicy ?? ''],
  ),
  [resources.runtimeclasses.plural]: format<RuntimeClass>([text('Handler')], ({ handler }) => [handler]),
  [resources.servicecidrs.plural]: format<ServiceCIDR>([text('CIDRs')], ({ spec }) => [(spec?.cidrs ?? []).join(',')]),
  [resources.csidrivers.plural]: format<CSIDriver>(
    [
      flag('AttachRequired'),
      flag('PodInfoOnMount'),
      flag('StorageCapacity'),
      text('TokenRequests'),
      flag('RequiresRepublish'),
      text('Modes'),
    ],
    csiDriverCells,
  ),
  [resources.csinodes.plural]: format<CSINode>([{ name: 'Drivers', type: 'integer' }], csiNodeCells),
  [resources.volumeattachments.plural]: format<VolumeAttachment>(
    [text('Attacher'), text('PV'), text('Node'), flag('Attached')],
    volumeAttachmentCells,
  ),
  [resources.storageclasses.plural]: format<StorageClass>(
    [text('Provisioner'), text('ReclaimPolicy'), text('VolumeBindingMode'), flag('AllowVolumeExpansion')],
    storageClassCells,
    [],
    () => [],
    storageClassName,
  ),
  [resources.persistentvolumes.plural]: format<PersistentVolume>(
    [
      text('Capacity'),
      text('Access Modes'),
      text('Reclaim Policy'),
      text('Status'),
      text('Claim'),
      text('StorageClass'),
      text('VolumeAttributesClass'),
      text('Reason'),
    ],
    (volume) => [
      String(volume.spec?.capacity?.['storage'] ?? ''),
      accessModes(volume.spec?.accessModes),
      volume.spec?.persistentVolumeReclaimPolicy ?? '',
      phase(volume, volume.status?.phase),
      volume.spec?.claimRef === undefined ? '' : `${volume.spec.claimRef.namespace}/${volume.spec.claimRef.name}`,
      volume.spec?.storageClassName ?? '',
      (volume.spec as { volumeAttributesClassName?: string } | undefined)?.volumeAttributesClassName ?? '<unset>',
      (volume.status as { reason?: string } | undefined)?.reason ?? '',
    ],
    [text('VolumeMode', 1)],
    ({ spec }) => [spec?.volumeMode ?? '<unset>'],
  ),
  [resources.persistentvolumeclaims.plural]: format<PersistentVolumeClaim>(
    [
      text('Status'),
      text('Volume'),
      text('Capacity'),
      text('Access Modes'),
      text('StorageClass'),
      text('VolumeAttributesClass'),
    ],
    (claim) => {
      const bound = (claim.spec?.volumeName ?? '') !== '';
      return [
        phase(claim, claim.status?.phase),
        claim.spec?.volumeName ?? '',
        bound ? String(claim.status?.capacity?.['storage'] ?? '') : '',
        bound ? accessModes(claim.status?.accessModes) : '',
        claim.spec?.storageClassName ?? '',
        (claim.spec as { volumeAttributesClassName?: string } | undefined)?.volumeAttributesClassName ?? '<unset>',
      ];
    },
    [text('VolumeMode', 1)],
    ({ spec }) => [spec?.volumeMode ?? '<unset>'],
  ),
  [resources.events.plural]: {
    columns: [
      text('Last Seen'),
      text('Type'),
      text('Reason'),
      text('Object'),
      text('Subobject', 1),
      text('Source', 1),
      text('Message'),
      text('First Seen', 1),
      text('Count', 1),
      { ...nameColumn, priority: 1 },
    ],
    cells: eventCells,
  },
};

const PLAIN: TableFormat = format([], () => []);

/** The columns of a kind, as kubectl shows it (pkg/printers/internalversion). */
export function formatOf(type: ResourceType): TableFormat {
  return FORMATS[type.plural] ?? PLAIN;
}

function eventCells(object: KubeObject, now: number): Cell[] {
  const event = object as Event;
  const first = event.firstTimestamp ?? event.eventTime;
  const last = event.series?.lastObservedTime ?? event.lastTimestamp ?? first;
  const { kind, name, fieldPath } = event.involvedObject ?? {};
  const component = event.source?.component || event.reportingComponent || '';
  const host = event.source?.host ?? event.reportingInstance ?? '';
  return [
    age(last, now),
    event.type ?? '',
    event.reason ?? '',
    kind === undefined ? '' : `${kind.toLowerCase()}/${name ?? ''}`,
    fieldPath ?? '',
    host === '' ? component : `${component}, ${host}`,
    (event.message ?? '').trim(),
    age(first, now),
    event.series?.count ?? (event.count || 1),
    event.metadata.name ?? '',
  ];
}

function nodeStatus({ spec, status }: Node): string {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  const words = [ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady'];
  if (spec?.unschedulable === true) words.push('SchedulingDisabled');
  return words.join(',');
}

function nodeRoles({ metadata }: Node): string {
  const roles = new Set<string>();
  for (const [key, value] of Object.entries(metadata.labels ?? {})) {
    if (key.startsWith('node-role.kubernetes.io/')) roles.add(key.slice('node-role.kubernetes.io/'.length));
    else if (key === 'kubernetes.io/role' && value !== '') roles.add(value);
  }
  roles.delete('');
  return roles.size === 0 ? NONE : [...roles].sort().join(',');
}

function externalIp({ spec, status }: Service): string {
  const external = spec.externalIPs ?? [];
  switch (spec.type) {
    case 'ExternalName':
      return spec.externalName ?? '';
    case 'LoadBalancer': {
      const given = (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip || hostname || '');
      const all = [...new Set(given.filter((one) => one !== ''))].sort().concat(external);
      return all.length === 0 ? '<pending>' : all.join(',');
    }
    default:
      return external.length === 0 ? NONE : external.join(',');
  }
}

function servicePorts({ spec }: Service): string {
  const ports = (spec.ports ?? []).map(
    ({ port, nodePort, protocol = 'TCP' }) => `${port}${nodePort ? `:${nodePort}` : ''}/${protocol}`,
  );
  return ports.length === 0 ? NONE : ports.join(',');
}

const SHOWN = 3;

function slicePorts({ ports = [] }: EndpointSlice): string {
  return shortList(
    ports.map(({ port, name }) => String(port ?? name ?? '*')),
    '<unset>',
  );
}

function sliceEndpoints({ endpoints }: EndpointSlice): string {
  return shortList(
    (endpoints ?? []).flatMap(({ addresses }) => addresses),
    '<unset>',
  );
}

function shortList(items: readonly string[], empty: string): string {
  if (items.length === 0) return empty;
  const more = items.length - SHOWN;
  const shown = items.slice(0, SHOWN).join(',');
  return more > 0 ? `${shown} + ${more} more...` : shown;
}

const MODES: readonly (readonly [string, string])[] = [
  ['ReadWriteOnce', 'RWO'],
  ['ReadOnlyMany', 'ROX'],
  ['ReadWriteMany', 'RWX'],
  ['ReadWriteOncePod', 'RWOP'],
];

function accessModes(modes: readonly string[] | undefined): string {
  return MODES.filter(([mode]) => modes?.includes(mode))
    .map(([, short]) => short)
    .join(',');
}

function phase(object: KubeObject, value: string | undefined): string {
  return object.metadata.deletionTimestamp === undefined ? (value ?? '') : 'Terminating';
}

function pairs(set: Readonly<Record<string, string>> | undefined): string {
  const list = Object.entries(set ?? {}).map(([key, value]) => `${key}=${value}`);
  return list.length === 0 ? NONE : list.sort().join(',');
}

function count(map: object | undefined): number {
  return map === undefined ? 0 : Object.keys(map).length;
}
