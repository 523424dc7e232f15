import type { LabelSelector } from '../../model/meta.ts';
import { dns1123LabelError, labelValueError, qualifiedNameError } from '../../model/names.ts';
import type { PodSpec, Toleration } from '../../model/pod.ts';
import type { FieldError } from '../port.ts';
import { child, duplicate, forbidden, invalid, notSupported, required } from './field-errors.ts';
import { validateLabelSelector } from './label-selector.ts';
import { labelErrors } from './object-meta.ts';

interface NodeRequirement {
  key?: string;
  operator?: string;
  values?: string[];
}

export interface NodeTerm {
  matchExpressions?: NodeRequirement[];
  matchFields?: NodeRequirement[];
}

interface PodTerm {
  labelSelector?: LabelSelector;
  namespaceSelector?: LabelSelector;
  namespaces?: string[];
  topologyKey?: string;
}

interface PodRules {
  requiredDuringSchedulingIgnoredDuringExecution?: PodTerm[];
  preferredDuringSchedulingIgnoredDuringExecution?: { weight?: number; podAffinityTerm?: PodTerm }[];
}

interface Affinity {
  nodeAffinity?: {
    requiredDuringSchedulingIgnoredDuringExecution?: { nodeSelectorTerms?: NodeTerm[] };
    preferredDuringSchedulingIgnoredDuringExecution?: { weight?: number; preference?: NodeTerm }[];
  };
  podAffinity?: PodRules;
  podAntiAffinity?: PodRules;
}

interface Spread {
  maxSkew?: number;
  topologyKey?: string;
  whenUnsatisfiable?: string;
  minDomains?: number;
  labelSelector?: LabelSelector;
}

/** Where a pod may run: node selector, affinity, tolerations, spread, gates. */
export function validateScheduling(spec: PodSpec, path: string): FieldError[] {
  const errors = [
    ...labelErrors(spec.nodeSelector, child(path, 'nodeSelector')),
    ...affinityErrors((spec.affinity ?? {}) as Affinity, child(path, 'affinity')),
    ...validateTolerations(spec.tolerations, child(path, 'tolerations')),
    ...spreadErrors((spec.topologySpreadConstraints ?? []) as Spread[], child(path, 'topologySpreadConstraints')),
  ];
  const gates = new Set<string>();
  for (const [index, gate] of (spec.schedulingGates ?? []).entries()) {
    const at = `${path}.schedulingGates[${index}]`;
    const error = qualifiedNameError(gate.name ?? '');
    if (error !== undefined) errors.push(invalid(at, gate.name ?? '', error));
    if (gates.has(gate.name)) errors.push(duplicate(at, gate.name));
    gates.add(gate.name);
  }
  if (spec.nodeName && gates.size > 0) {
    errors.push(forbidden(child(path, 'nodeName'), 'cannot be set until all schedulingGates have been cleared'));
  }
  return errors;
}

export function validateTolerations(tolerations: readonly Toleration[] | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, toleration] of (tolerations ?? []).entries()) {
    const at = `${path}[${index}]`;
    const { key, value, effect } = toleration;
    // Lt and Gt are newer (KEP-5471) than the model's type.
    const operator: string | undefined = toleration.operator;
    if (key) {
      const error = qualifiedNameError(key);
      if (error !== undefined) errors.push(invalid(child(at, 'key'), key, error));
    } else if (operator !== 'Exists') {
      errors.push(
        invalid(
          child(at, 'operator'),
          operator ?? '',
          'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        ),
      );
    }
    if (toleration.tolerationSeconds !== undefined && effect !== 'NoExecute') {
      errors.push(
        invalid(child(at, 'effect'), effect ?? '', "effect must be 'NoExecute' when `tolerationSeconds` is set"),
      );
    }
    if (operator === 'Exists' && value) {
      errors.push(invalid(child(at, 'operator'), value, "value must be empty when `operator` is 'Exists'"));
    } else if (operator === 'Lt' || operator === 'Gt') {
      if (!/^-?(0|[1-9]\d*)$/.test(value ?? ''))
        errors.push(invalid(child(at, 'value'), value ?? '', 'must be a whole number in decimal'));
    } else if (operator !== 'Exists') {
      const error = labelValueError(value ?? '');
      if (error !== undefined) errors.push(invalid(child(at, 'operator'), value, error));
    }
  }
  return errors;
}

function affinityErrors(affinity: Affinity, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const node = affinity.nodeAffinity;
  const hard = node?.requiredDuringSchedulingIgnoredDuringExecution;
  const hardPath = `${path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution`;
  if (hard !== undefined) errors.push(...nodeSelectorErrors(hard, hardPath));
  for (const [index, term] of (node?.preferredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
    const at = `${path}.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[${index}]`;
    errors.push(...weightErrors(term.weight, at), ...nodeTermErrors(term.preference ?? {}, child(at, 'preference')));
  }
  for (const name of ['podAffinity', 'podAntiAffinity'] as const) {
    const rules = affinity[name];
    for (const [index, term] of (rules?.requiredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
      errors.push(...podTermErrors(term, `${path}.${name}.requiredDuringSchedulingIgnoredDuringExecution[${index}]`));
    }
    for (const [index, term] of (rules?.preferredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
      const at = `${path}.${name}.preferredDuringSchedulingIgnoredDuringExecution[${index}]`;
      errors.push(
        ...weightErrors(term.weight, at),
        ...podTermErrors(term.podAffinityTerm ?? {}, child(at, 'podAffinityTerm')),
      );
    }
  }
  return errors;
}

export function nodeSelectorErrors(selector: { nodeSelectorTerms?: NodeTerm[] }, path: string): FieldError[] {
  const terms = selector.nodeSelectorTerms ?? [];
  if (terms.length === 0)
    return [required(child(path, 'nodeSelectorTerms'), 'must have at least one node selector term')];
  return terms.flatMap((term, index) => nodeTermErrors(term, `${path}.nodeSelectorTerms[${index}]`));
}

function nodeTermErrors(term: NodeTerm, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, requirement] of (term.matchExpressions ?? []).entries()) {
    const at = `${path}.matchExpressions[${index}]`;
    const { key = '', operator, values = [] } = requirement;
    if ((operator === 'In' || operator === 'NotIn') && values.length === 0) {
      errors.push(required(child(at, 'values'), "must be specified when `operator` is 'In' or 'NotIn'"));
    } else if ((operator === 'Exists' || operator === 'DoesNotExist') && values.length > 0) {
      errors.push(forbidden(child(at, 'values'), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
    } else if ((operator === 'Gt' || operator === 'Lt') && values.length !== 1) {
      errors.push(required(child(at, 'values'), "must be specified single value when `operator` is 'Lt' or 'Gt'"));
    }
    const error = qualifiedNameError(key);
    if (error !== undefined) errors.push(invalid(child(at, 'key'), key, error));
  }
  for (const [index, requirement] of (term.matchFields ?? []).entries()) {
    const at = `${path}.matchFields[${index}]`;
    if (requirement.operator !== 'In' && requirement.operator !== 'NotIn') {
      errors.push(invalid(child(at, 'operator'), requirement.operator ?? '', 'not a valid selector operator'));
    } else if (requirement.values?.length !== 1) {
      errors.push(
        required(
          child(at, 'values'),
          "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
        ),
      );
    }
    if (requirement.key !== 'metadata.name') {
      errors.push(invalid(child(at, 'key'), requirement.key ?? '', 'not a valid field selector key'));
    }
  }
  return errors;
}

function podTermErrors(term: PodTerm, path: string): FieldError[] {
  const errors = [
    ...validateLabelSelector(term.labelSelector, child(path, 'labelSelector')),
    ...validateLabelSelector(term.namespaceSelector, child(path, 'namespaceSelector')),
  ];
  for (const [index, name] of (term.namespaces ?? []).entries()) {
    const error = dns1123LabelError(name);
    if (error !== undefined) errors.push(invalid(`${path}.namespaces[${index}]`, name, error));
  }
  if (!term.topologyKey) return [...errors, required(child(path, 'topologyKey'), 'can not be empty')];
  const error = qualifiedNameError(term.topologyKey);
  if (error !== undefined) errors.push(invalid(child(path, 'topologyKey'), term.topologyKey, error));
  return errors;
}

function weightErrors(weight: number | undefined, path: string): FieldError[] {
  if (weight !== undefined && weight >= 1 && weight <= 100) return [];
  return [invalid(child(path, 'weight'), weight ?? 0, 'must be in the range 1-100')];
}

function spreadErrors(constraints: readonly Spread[], path: string): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, spread] of constraints.entries()) {
    const at = `${path}[${index}]`;
    if ((spread.maxSkew ?? 0) <= 0)
      errors.push(invalid(child(at, 'maxSkew'), spread.maxSkew ?? 0, 'must be greater than zero'));
    if (!spread.topologyKey) errors.push(required(child(at, 'topologyKey'), 'can not be empty'));
    if (!spread.whenUnsatisfiable) {
      errors.push(notSupported(child(at, 'whenUnsatisfiable'), '', ['DoNotSchedule', 'ScheduleAnyway']));
    }
    const pair = `{${spread.topologyKey ?? ''}, ${spread.whenUnsatisfiable ?? ''}}`;
    if (seen.has(pair)) errors.push(duplicate(`${at}.{topologyKey, whenUnsatisfiable}`, pair));
    seen.add(pair);
    if (spread.minDomains !== undefined) {
      if (spread.minDomains <= 0)
        errors.push(invalid(child(at, 'minDomains'), spread.minDomains, 'must be greater than zero'));
      if (spread.whenUnsatisfiable !== 'DoNotSchedule') {
        const detail = 'can only use minDomains if whenUnsatisfiable=DoNotSchedule, not whenUnsatisfiable=';
        errors.push(invalid(child(at, 'minDomains'), spread.minDomains, `${detail}${spread.whenUnsatisfiable ?? ''}`));
      }
    }
    errors.push(...validateLabelSelector(spread.labelSelector, child(at, 'labelSelector')));
  }
  return errors;
}
