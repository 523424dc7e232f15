import type { PersistentVolume, PersistentVolumeClaim } from '../../../model/objects.ts';
import { isQuantity, parseQuantity } from '../../../model/quantity.ts';
import type { ClaimResizeStatus } from '../../../model/storage.ts';

/** What is to be done about a volume that has been made larger (node_expander.go). Pure. */
export type Expansion =
  /** The driver is asked to. `recover`: the claim's status follows each step (RecoverVolumeExpansionFailure). */
  | { readonly do: 'expand'; readonly size: string; readonly recover: boolean; readonly updateClaim: boolean }
  /** It has that size already, as the claim says. */
  | { readonly do: 'note'; readonly size: string };

/** Set by the resizer where the node has nothing to do. */
const NOT_REQUIRED = 'volume.kubernetes.io/node-expansion-not-required';
const RESIZE_CONDITIONS: ReadonlySet<string> = new Set([
  'FileSystemResizePending',
  'Resizing',
  'ControllerResizeError',
  'NodeResizeError',
]);

/** `knownSize`: what this node has last known the volume to have; undefined: what the claim says. */
export function expansionOf(
  claim: PersistentVolumeClaim,
  volume: PersistentVolume,
  knownSize: string | undefined,
): Expansion | undefined {
  const status = statusOf(claim);
  const wanted = sizeIn(volume.spec?.capacity);
  const claimed = sizeIn(claim.status?.capacity);
  const has = knownSize ?? claimed;
  if (wanted === undefined || has === undefined || !isLess(has, wanted)) return undefined;
  const step = status.allocatedResourceStatuses?.['storage'];
  if (step === undefined && status.allocatedResources === undefined) {
    // An older resizer, which does not say how far it is.
    return {
      do: 'expand',
      size: wanted,
      recover: false,
      updateClaim: claimed === undefined || isLess(claimed, wanted),
    };
  }
  const size = sizeIn(status.allocatedResources) ?? wanted;
  if (step === undefined && claimed !== undefined && !isLess(claimed, size)) {
    const onEachNode =
      claim.spec?.accessModes?.includes('ReadWriteMany') === true &&
      claim.metadata.annotations?.[NOT_REQUIRED] === undefined;
    return onEachNode ? { do: 'expand', size, recover: true, updateClaim: false } : { do: 'note', size };
  }
  if (step !== 'NodeResizePending' && step !== 'NodeResizeInProgress') return undefined;
  return { do: 'expand', size, recover: true, updateClaim: true };
}

/** Merge patches of the claim's status. The version makes sure that nobody has changed it meanwhile. */
export function inProgress(claim: PersistentVolumeClaim): object {
  return patch(claim, { allocatedResourceStatuses: { storage: 'NodeResizeInProgress' } });
}

export function finished(claim: PersistentVolumeClaim, size: string): object {
  const { conditions = [], allocatedResourceStatuses } = statusOf(claim);
  const others = Object.keys(allocatedResourceStatuses ?? {}).filter((name) => name !== 'storage');
  return patch(claim, {
    capacity: { storage: size },
    allocatedResourceStatuses: others.length === 0 ? null : { storage: null },
    conditions: conditions.filter(({ type }) => !RESIZE_CONDITIONS.has(type)),
  });
}

/** `infeasible`: asking again cannot help, a controller has to take it back. */
export function failed(claim: PersistentVolumeClaim, message: string, infeasible: boolean, now: string): object {
  const { conditions = [] } = statusOf(claim);
  const type = 'NodeResizeError';
  const known = conditions.find((condition) => condition.type === type && condition.status === 'True');
  const error = known ?? {
    type,
    status: 'True',
    lastTransitionTime: now,
    message: `failed to expand pvc with ${message}`,
  };
  return patch(claim, {
    conditions: [...conditions.filter((condition) => condition.type !== type), error],
    ...(infeasible ? { allocatedResourceStatuses: { storage: 'NodeResizeInfeasible' } } : {}),
  });
}

function patch({ metadata }: PersistentVolumeClaim, status: object): object {
  return { metadata: { resourceVersion: metadata.resourceVersion }, status };
}

function statusOf(claim: PersistentVolumeClaim): ClaimResizeStatus {
  return (claim.status ?? {}) as ClaimResizeStatus;
}

function sizeIn(list: Readonly<Record<string, string | number>> | undefined): string | undefined {
  const size = list?.['storage'];
  return isQuantity(size) ? String(size) : undefined;
}

function isLess(a: string, b: string): boolean {
  return parseQuantity(a) < parseQuantity(b);
}
