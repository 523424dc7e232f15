import type { Node } from '../../model/node.ts';
import type { NodeSelectorRequirement, NodeSelectorTerm } from '../../model/objects.ts';
import type { Pod } from '../../model/pod.ts';
import { matches, matchesSet, type Requirement } from '../../model/selector.ts';

interface Affinity {
  readonly nodeAffinity?: {
    readonly requiredDuringSchedulingIgnoredDuringExecution?: {
      readonly nodeSelectorTerms?: readonly NodeSelectorTerm[];
    };
  };
}

/** Whether the pod's nodeSelector and required node affinity take this node (component-helpers GetRequiredNodeAffinity). */
export function matchesNode(pod: Pod, node: Node): boolean {
  const { labels } = node.metadata;
  if (!matchesSet(pod.spec.nodeSelector ?? {}, labels)) return false;
  const required = (pod.spec.affinity as Affinity | undefined)?.nodeAffinity
    ?.requiredDuringSchedulingIgnoredDuringExecution;
  if (required === undefined || required === null) return true;
  return matchesSelectorTerms(required.nodeSelectorTerms ?? [], node);
}

/** One term is enough; an empty one, like no term at all, takes no node. */
export function matchesSelectorTerms(terms: readonly NodeSelectorTerm[], node: Node): boolean {
  return terms.some((term) => matchesTerm(term, node));
}

function matchesTerm({ matchExpressions = [], matchFields = [] }: NodeSelectorTerm, { metadata }: Node): boolean {
  if (matchExpressions.length === 0 && matchFields.length === 0) return false;
  const expressions = matchExpressions.map(requirementOf);
  if (!expressions.every((requirement) => requirement !== undefined)) return false;
  return matches(expressions, metadata.labels) && matchFields.every((field) => matchesField(field, metadata.name));
}

/** undefined: the API would have refused it, and it selects nothing. */
function requirementOf({ key, operator, values = [] }: NodeSelectorRequirement): Requirement | undefined {
  switch (operator) {
    case 'In':
    case 'NotIn':
      return values.length === 0 ? undefined : { key, operator, values };
    case 'Exists':
    case 'DoesNotExist':
      return values.length > 0 ? undefined : { key, operator, values };
    case 'Gt':
    case 'Lt':
      return values.length === 1 ? { key, operator, values } : undefined;
    default:
      return undefined;
  }
}

/** The one field that a node is selected by is its name. */
function matchesField({ key, operator, values = [] }: NodeSelectorRequirement, name: string | undefined): boolean {
  if (values.length !== 1) return false;
  const value = key === 'metadata.name' ? (name ?? '') : '';
  if (operator === 'In') return value === values[0];
  return operator === 'NotIn' && value !== values[0];
}
