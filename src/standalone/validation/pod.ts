import { parseIp } from '../../model/cidr.ts';
import { dns1123LabelError, dns1123SubdomainError, qualifiedNameError } from '../../model/names.ts';
import type { Pod, PodSpec } from '../../model/pod.ts';
import { parseQuantity } from '../../model/quantity.ts';
import type { FieldError } from '../port.ts';
import { validateContainers } from './container.ts';
import { child, duplicate, forbidden, invalid, required, tooLong } from './field-errors.ts';
import { ipErrors } from './ip-errors.ts';
import { quantityErrors, quantityOf } from './resource-requirements.ts';
import { validateScheduling } from './scheduling.ts';
import { validateHostNamespaces, validatePodSecurityContext } from './security-context.ts';
import { imagePullSecretErrors, validateVolumes } from './volume.ts';

const MAX_INT32 = 2_147_483_647;
const CRITICAL_CLASSES = ['system-node-critical', 'system-cluster-critical'];

/** ValidatePodCreate: `pod` has its defaults. */
export function validatePodCreate(pod: Pod): FieldError[] {
  const errors = validatePodSpec(pod.spec, 'spec');
  if ((pod.spec.ephemeralContainers?.length ?? 0) > 0) {
    errors.push(forbidden('spec.ephemeralContainers', 'cannot be set on create'));
  }
  return errors;
}

export function validatePodSpec(spec: PodSpec, path: string): FieldError[] {
  return [
    ...validateVolumes(spec.volumes, child(path, 'volumes')),
    ...validateContainers(spec, path),
    ...timeErrors(spec, path),
    ...validateHostNamespaces(spec, path),
    ...validatePodSecurityContext(spec.securityContext, spec, child(path, 'securityContext')),
    ...imagePullSecretErrors(spec.imagePullSecrets, child(path, 'imagePullSecrets')),
    ...validateScheduling(spec, path),
    ...nameErrors(spec, path),
    ...dnsErrors(spec, path),
    ...hostAliasErrors(spec, path),
    ...podResourceErrors(spec, path),
    ...gateErrors(spec, path),
    ...osErrors(spec, path),
  ];
}

function timeErrors(spec: PodSpec, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const { activeDeadlineSeconds: deadline, terminationGracePeriodSeconds: grace } = spec;
  if (deadline !== undefined && (deadline < 1 || deadline > MAX_INT32)) {
    errors.push(
      invalid(child(path, 'activeDeadlineSeconds'), deadline, `must be between 1 and ${MAX_INT32}, inclusive`),
    );
  }
  if (grace !== undefined && grace < 0) {
    errors.push(invalid(child(path, 'terminationGracePeriodSeconds'), grace, 'must be greater than or equal to 0'));
  }
  return errors;
}

function nameErrors(spec: PodSpec, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const rules = [
    ['hostname', dns1123LabelError],
    ['subdomain', dns1123LabelError],
    ['serviceAccountName', dns1123SubdomainError],
    ['nodeName', dns1123SubdomainError],
    ['runtimeClassName', dns1123SubdomainError],
    ['priorityClassName', dns1123SubdomainError],
  ] as const;
  for (const [field, rule] of rules) {
    const value = spec[field];
    if (!value) continue;
    const error = CRITICAL_CLASSES.includes(value) ? undefined : rule(value);
    if (error !== undefined) errors.push(invalid(child(path, field), value, error));
  }
  return [...errors, ...hostnameOverrideErrors(spec, child(path, 'hostnameOverride'))];
}

/** validatePodHostName (KEP-4762). */
function hostnameOverrideErrors(spec: PodSpec, path: string): FieldError[] {
  const { hostnameOverride: hostname } = spec;
  if (hostname === undefined) return [];
  const errors: FieldError[] = [];
  if (spec.setHostnameAsFQDN === true)
    errors.push(forbidden(path, 'may not be specified when setHostnameAsFQDN is true'));
  if (spec.hostNetwork === true) errors.push(forbidden(path, 'may not be specified when hostNetwork is true'));
  if (hostname.length > 64) errors.push(tooLong(path, 64));
  const error = dns1123SubdomainError(hostname);
  if (error !== undefined) errors.push(invalid(path, hostname, error));
  return errors;
}

function dnsErrors(spec: PodSpec, path: string): FieldError[] {
  const config = spec.dnsConfig;
  const at = child(path, 'dnsConfig');
  const errors: FieldError[] = [];
  const nameservers = config?.nameservers ?? [];
  if (spec.dnsPolicy === 'None' && nameservers.length === 0) {
    if (config === undefined) return [required(at, 'must provide `dnsConfig` when `dnsPolicy` is None')];
    errors.push(
      required(child(at, 'nameservers'), 'must provide at least one DNS nameserver when `dnsPolicy` is None'),
    );
  }
  if (nameservers.length > 3) {
    errors.push(invalid(child(at, 'nameservers'), nameservers, 'must not have more than 3 nameservers'));
  }
  for (const [index, server] of nameservers.entries()) errors.push(...ipErrors(`${at}.nameservers[${index}]`, server));
  const searches = config?.searches ?? [];
  if (searches.length > 32)
    errors.push(invalid(child(at, 'searches'), searches, 'must not have more than 32 search paths'));
  if (searches.join(' ').length > 2048) {
    errors.push(
      invalid(
        child(at, 'searches'),
        searches,
        'must not have more than 2048 characters (including spaces) in the search list',
      ),
    );
  }
  for (const [index, search] of searches.entries()) {
    // "." is the root; a trailing dot makes a name absolute; "_" is in use (KEP-4427).
    const name = search === '.' ? 'a' : search.replace(/\.$/, '').replaceAll('_', '-');
    const error = dns1123SubdomainError(name.replace(/^-|-(?=\.)|(?<=\.)-/g, 'a'));
    if (error !== undefined) errors.push(invalid(`${at}.searches[${index}]`, search, error));
  }
  for (const [index, option] of (config?.options ?? []).entries()) {
    if (!option.name) errors.push(required(`${at}.options[${index}]`, 'must not be empty'));
  }
  return errors;
}

function hostAliasErrors(spec: PodSpec, path: string): FieldError[] {
  return (spec.hostAliases ?? []).flatMap((alias, index) => {
    const at = `${path}.hostAliases[${index}]`;
    const errors: FieldError[] = [];
    // Old manifests spell addresses as they like; only what is none at all is refused.
    if (parseIp(alias.ip ?? '') === undefined) errors.push(...ipErrors(child(at, 'ip'), alias.ip ?? ''));
    for (const [position, name] of (alias.hostnames ?? []).entries()) {
      const error = dns1123SubdomainError(name);
      if (error !== undefined) errors.push(invalid(`${at}.hostnames[${position}]`, name, error));
    }
    return errors;
  });
}

/** Overhead and pod-level resources (KEP-2837). */
function podResourceErrors(spec: PodSpec, path: string): FieldError[] {
  const errors = Object.keys(spec.overhead ?? {}).flatMap((name) =>
    quantityErrors(name, spec.overhead ?? {}, child(path, 'overhead')),
  );
  const resources = spec.resources;
  if (resources === undefined) return errors;
  const at = child(path, 'resources');
  if ((resources.claims?.length ?? 0) > 0)
    errors.push(forbidden(child(at, 'claims'), 'claims cannot be set for Resources at pod-level'));
  for (const kind of ['limits', 'requests'] as const) {
    for (const [name, quantity] of Object.entries(resources[kind] ?? {})) {
      if (name !== 'cpu' && name !== 'memory' && !name.startsWith('hugepages-')) {
        errors.push(
          invalid(
            `${at}.${kind}[${name}]`,
            name,
            'must be a standard resource for pods: cpu, memory or hugepages-<size>',
          ),
        );
      } else if (parseQuantity(quantity) < 0n) {
        errors.push(invalid(`${at}.${kind}[${name}]`, String(quantity), 'must be greater than or equal to 0'));
      }
    }
  }
  for (const [name, request] of Object.entries(resources.requests ?? {})) {
    const limit = quantityOf(resources.limits, name);
    if (limit !== undefined && parseQuantity(request) > parseQuantity(limit)) {
      errors.push(
        invalid(child(at, 'requests'), String(request), `must be less than or equal to ${name} limit of ${limit}`),
      );
    }
    const total = spec.containers.reduce(
      (sum, one) => sum + parseQuantity(quantityOf(one.resources?.requests, name) ?? '0'),
      0n,
    );
    if (total > parseQuantity(request)) {
      errors.push(
        invalid(
          `${at}.requests[${name}]`,
          String(request),
          `must be greater than or equal to aggregate container requests of ${name}`,
        ),
      );
    }
  }
  for (const [name, limit] of Object.entries(resources.limits ?? {})) {
    for (const [index, container] of spec.containers.entries()) {
      const own = quantityOf(container.resources?.limits, name);
      if (own !== undefined && parseQuantity(own) > parseQuantity(limit)) {
        errors.push(
          invalid(
            `${path}.containers[${index}].resources.limits[${name}]`,
            String(own),
            `must be less than or equal to pod limits of ${limit}`,
          ),
        );
      }
    }
  }
  return errors;
}

function gateErrors(spec: PodSpec, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, gate] of (spec.readinessGates ?? []).entries()) {
    const error = qualifiedNameError(gate.conditionType ?? '');
    if (error !== undefined)
      errors.push(invalid(`${path}.readinessGates[${index}].conditionType`, gate.conditionType ?? '', error));
  }
  const claims = new Set<string>();
  for (const [index, claim] of ((spec.resourceClaims ?? []) as { name?: string }[]).entries()) {
    const name = claim.name ?? '';
    const at = `${path}.resourceClaims[${index}].name`;
    const error = dns1123LabelError(name);
    if (name === '') errors.push(required(at));
    else if (error !== undefined) errors.push(invalid(at, name, error));
    else if (claims.has(name)) errors.push(duplicate(at, name));
    claims.add(name);
  }
  return errors;
}

function osErrors(spec: PodSpec, path: string): FieldError[] {
  const context = spec.securityContext as { windowsOptions?: unknown } | undefined;
  if (spec.os?.name !== 'linux' || context?.windowsOptions === undefined) return [];
  return [forbidden(`${path}.securityContext.windowsOptions`, 'windows options cannot be set for a linux pod')];
}
