import { isAbsent, sameInApi } from '../cluster/api-equality.ts';
import type { QuantityText, ResourceList } from '../model/meta.ts';
import type { NodeCondition, NodeStatus } from '../model/node.ts';
import { isQuantity, parseQuantity } from '../model/quantity.ts';

/** Fields that nobody else writes. Not here: volumesAttached (the attach controller's), config, phase. */
const OWN_FIELDS = [
  'nodeInfo',
  'daemonEndpoints',
  'images',
  'runtimeHandlers',
  'features',
  'declaredFeatures',
  'volumesInUse',
  'capacity',
  'allocatable',
  'addresses',
] as const satisfies readonly (keyof NodeStatus)[];

/**
 * The strategic merge patch of nodes/status that turns `current` into `wanted`, and whether anything but the heartbeat
 * differs. Conditions of others are left alone; resources that are in `current` only go, so `wanted` has all that stay.
 */
export function nodeStatusPatch(
  current: NodeStatus,
  wanted: NodeStatus,
): { readonly patch: { readonly status: Record<string, unknown> }; readonly changed: boolean } {
  const status: Record<string, unknown> = {};
  for (const field of OWN_FIELDS) {
    const has = current[field];
    const wants = wanted[field];
    if (field === 'capacity' || field === 'allocatable') {
      const changes = quantityChanges(current[field], wanted[field] ?? {});
      if (changes !== undefined) status[field] = changes;
    } else if (!sameInApi(has, wants)) {
      // Two addresses of one type would be merged into one: patchMergeKey is "type" (kubernetes 79391).
      status[field] = isAbsent(wants)
        ? null
        : field === 'addresses'
          ? [...(wanted.addresses ?? []), { $patch: 'replace' }]
          : withoutLeftovers(has, wants);
    }
  }
  const conditions = wanted.conditions ?? [];
  const conditionsChanged = conditions.some(
    (condition) =>
      !sameCondition(
        current.conditions?.find(({ type }) => type === condition.type),
        condition,
      ),
  );
  const changed = Object.keys(status).length > 0 || conditionsChanged;
  return { patch: { status: { ...status, conditions } }, changed };
}

function sameCondition(has: NodeCondition | undefined, wants: NodeCondition): boolean {
  return has !== undefined && sameInApi({ ...has, lastHeartbeatTime: '' }, { ...wants, lastHeartbeatTime: '' });
}

/** An object is merged with the one that is there: what it has no more must be said (swap that was switched off). */
function withoutLeftovers(has: unknown, wants: unknown): unknown {
  if (typeof has !== 'object' || has === null || Array.isArray(has)) return wants;
  if (typeof wants !== 'object' || wants === null || Array.isArray(wants)) return wants;
  const gone = Object.keys(has).filter((key) => !Object.hasOwn(wants, key));
  return { ...wants, ...Object.fromEntries(gone.map((key) => [key, null])) };
}

/** The changes between two lists of resources; undefined when there is none. */
export function quantityChanges(
  has: ResourceList | undefined,
  wants: ResourceList,
): Record<string, QuantityText | null> | undefined {
  const changes: Record<string, QuantityText | null> = {};
  for (const [name, value] of Object.entries(wants)) if (!sameQuantity(has?.[name], value)) changes[name] = value;
  for (const name of Object.keys(has ?? {})) if (!(name in wants)) changes[name] = null;
  return Object.keys(changes).length === 0 ? undefined : changes;
}

/** By value: the server writes quantities in its own way ("4194304Ki" comes back as "4Gi"). */
function sameQuantity(a: QuantityText | undefined, b: QuantityText): boolean {
  if (a === b) return true;
  return isQuantity(a) && isQuantity(b) && parseQuantity(a) === parseQuantity(b);
}
