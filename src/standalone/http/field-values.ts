import { messageOf } from '../../kit/errors.ts';
import type { KubeObject } from '../../model/meta.ts';
import type { ResourceType } from '../../model/resource.ts';
import {
  type FieldRequirement,
  matches,
  matchesFields,
  parseFieldSelector,
  parseSelector,
} from '../../model/selector.ts';
import { badRequest } from './status-error.ts';

// Field labels that Kubernetes selects by (pkg/apis/core/v1/conversion.go and the registries' SelectableFields).
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  pods: [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.podIPs',
    'status.nominatedNodeName',
  ],
  nodes: ['spec.unschedulable'],
  namespaces: ['status.phase'],
  secrets: ['type'],
  certificatesigningrequests: ['spec.signerName'],
  services: ['spec.clusterIP', 'spec.type'],
  events: [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'involvedObject.apiVersion',
    'involvedObject.resourceVersion',
    'involvedObject.fieldPath',
    'reason',
    'reportingComponent',
    'source',
    'type',
  ],
};
const BOOLEANS: ReadonlySet<string> = new Set(['spec.hostNetwork', 'spec.unschedulable']);

/** What a request selects; undefined selects everything. */
export interface ObjectFilter {
  readonly matches: ((object: KubeObject) => boolean) | undefined;
}

/** Reads labelSelector and fieldSelector of a list or watch. Throws 400 for what cannot be read or selected by. */
export function parseFilter(
  type: ResourceType,
  query: { readonly labelSelector: string; readonly fieldSelector: string; readonly name?: string | undefined },
): ObjectFilter {
  const labels = read(() => parseSelector(query.labelSelector));
  const fields: FieldRequirement[] = read(() => parseFieldSelector(query.fieldSelector));
  for (const { field } of fields) {
    if (!isSelectable(type, field)) {
      throw badRequest(
        `Unable to find "${type.group === '' ? '' : `${type.group}/`}${type.version}, Resource=${type.plural}" that match label selector "${query.labelSelector}", field selector "${query.fieldSelector}": field label not supported: ${field}`,
      );
    }
  }
  if (query.name !== undefined) fields.push({ field: 'metadata.name', value: query.name, equal: true });
  if (labels.length === 0 && fields.length === 0) return { matches: undefined };
  return {
    matches: (object) =>
      matchesFields(fields, (field) => fieldValue(object, field)) &&
      (labels.length === 0 || matches(labels, object.metadata.labels)),
  };
}

function isSelectable(type: ResourceType, field: string): boolean {
  if (field === 'metadata.name') return true;
  if (field === 'metadata.namespace') return type.namespaced;
  return FIELDS[type.plural]?.includes(field) ?? false;
}

function fieldValue(object: KubeObject, field: string): string {
  if (field === 'source') return fieldValue(object, 'source.component') || fieldValue(object, 'reportingComponent');
  let value: unknown = object;
  if (field === 'status.podIPs') {
    const { status } = object as { status?: { podIPs?: { ip: string }[] } };
    return (status?.podIPs ?? []).map(({ ip }) => ip).join(',');
  }
  for (const part of field.split('.')) {
    value = value !== null && typeof value === 'object' ? (value as Record<string, unknown>)[part] : undefined;
  }
  if (value === undefined || value === null) return BOOLEANS.has(field) ? 'false' : '';
  return String(value);
}

function read<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw badRequest(messageOf(error));
  }
}
