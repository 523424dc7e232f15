import { isAbsent, sameInApi } from '../cluster/api-equality.ts';
import type { NodeCondition, NodeStatus } from '../model/node.ts';

/** Fields that nobody else writes. Not here: volumesAttached (the attach controller's), config, phase. */
const OWN_FIELDS = [
  'nodeInfo',
  'daemonEndpoints',
  'images',
  'runtimeHandlers',
  'features',
  'capacity',
  'allocatable',
  'addresses',
] as const satisfies readonly (keyof NodeStatus)[];

/**
 * The strategic merge patch of nodes/status that turns `current` into `wanted`, and whether anything but the heartbeat
 * differs. Conditions and resources of others are left alone.
 */
export function nodeStatusPatch(
  current: NodeStatus,
  wanted: NodeStatus,
): { readonly patch: object; readonly changed: boolean } {
  const status: Record<string, unknown> = {};
  for (const field of OWN_FIELDS) {
    const has = current[field];
    const wants = wanted[field];
    if (field === 'capacity' || field === 'allocatable') {
      const changes = mapChanges(current[field], wanted[field] ?? {});
      if (changes !== undefined) status[field] = changes;
    } else if (!sameInApi(has, wants)) {
      // Two addresses of one type would be merged into one: patchMergeKey is "type" (kubernetes 79391).
      status[field] = isAbsent(wants)
        ? null
        : field === 'addresses'
          ? [{ $patch: 'replace' }, ...(wanted.addresses ?? [])]
          : wants;
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

/** Resources that a device plugin or an administrator added (with a domain in their name) are not ours to remove. */
function mapChanges(
  has: Readonly<Record<string, unknown>> | undefined,
  wants: Readonly<Record<string, unknown>>,
): Record<string, unknown> | undefined {
  const changes: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(wants)) if (has?.[name] !== value) changes[name] = value;
  for (const name of Object.keys(has ?? {})) if (!(name in wants) && !name.includes('/')) changes[name] = null;
  return Object.keys(changes).length === 0 ? undefined : changes;
}
