import type { QuantityText, ResourceList } from '../../model/meta.ts';
import { dns1123SubdomainError, qualifiedNameError } from '../../model/names.ts';
import type { ResourceRequirements } from '../../model/pod.ts';
import { parseQuantity } from '../../model/quantity.ts';
import type { FieldError } from '../port.ts';
import { child, duplicate, forbidden, invalid, notFound, required } from './field-errors.ts';

const ONE = 1_000_000_000n;
const CONTAINER_RESOURCES = ['cpu', 'memory', 'ephemeral-storage'];

/** ValidateResourceRequirements: names, signs, whole numbers where they must be, requests within limits. */
export function validateResourceRequirements(
  resources: ResourceRequirements | undefined,
  path: string,
  claimNames: ReadonlySet<string> = new Set(),
): FieldError[] {
  if (resources === undefined) return [];
  const { limits = {}, requests = {} } = resources;
  const errors: FieldError[] = [];
  for (const name of Object.keys(limits)) errors.push(...quantityErrors(name, limits, `${path}.limits`));
  for (const name of Object.keys(requests)) {
    errors.push(...quantityErrors(name, requests, `${path}.requests`));
    errors.push(...requestErrors(name, resources, path));
  }
  errors.push(...hugePageErrors(resources, path));
  const seen = new Set<string>();
  for (const [index, claim] of (resources.claims ?? []).entries()) {
    const at = `${path}.claims[${index}]`;
    if (!claim.name) errors.push(required(`${at}.name`));
    else if (seen.has(claim.name)) errors.push(duplicate(at, claim.name));
    else if (!claimNames.has(claim.name)) errors.push(notFound(at, claim.name));
    seen.add(claim.name);
  }
  return errors;
}

/** Any resource list: well-formed names, no negative amount, whole numbers for what cannot be split. */
export function quantityErrors(
  name: string,
  list: ResourceList,
  path: string,
  standard: readonly string[] = CONTAINER_RESOURCES,
): FieldError[] {
  const at = `${path}[${name}]`;
  const errors = nameErrors(name, at, standard);
  const quantity = quantityOf(list, name) ?? '0';
  const value = parseQuantity(quantity);
  if (value < 0n) errors.push(invalid(at, String(quantity), 'must be greater than or equal to 0'));
  if (isWhole(name) && value % ONE !== 0n) errors.push(invalid(at, quantity, 'must be an integer'));
  return errors;
}

function nameErrors(name: string, at: string, standard: readonly string[]): FieldError[] {
  const error = qualifiedNameError(name);
  if (error !== undefined) return [invalid(at, name, error)];
  if (name.includes('/') || standard.includes(name) || name.startsWith('hugepages-')) return [];
  return [invalid(at, name, 'must be a standard resource type or fully qualified')];
}

/** Extended resources, huge pages: no overcommitment, no fractions. */
export function isExtended(name: string): boolean {
  return (
    name.includes('/') &&
    !name.includes('kubernetes.io/') &&
    dns1123SubdomainError(name.split('/')[0] ?? '') === undefined
  );
}

function isWhole(name: string): boolean {
  return isExtended(name);
}

function requestErrors(name: string, { limits = {}, requests = {} }: ResourceRequirements, path: string): FieldError[] {
  const request = quantityOf(requests, name);
  const limit = quantityOf(limits, name);
  if (request === undefined) return [];
  const exact = isExtended(name) || name.startsWith('hugepages-');
  if (limit === undefined) {
    return exact ? [required(`${path}.limits`, 'Limit must be set for non overcommitable resources')] : [];
  }
  const [wanted, most] = [parseQuantity(request), parseQuantity(limit)];
  if (exact && wanted !== most) {
    return [invalid(child(path, 'requests'), String(request), `must be equal to ${name} limit of ${limit}`)];
  }
  if (wanted <= most) return [];
  return [invalid(child(path, 'requests'), String(request), `must be less than or equal to ${name} limit of ${limit}`)];
}

function hugePageErrors({ limits = {}, requests = {} }: ResourceRequirements, path: string): FieldError[] {
  const names = [...Object.keys(limits), ...Object.keys(requests)];
  if (!names.some((name) => name.startsWith('hugepages-'))) return [];
  return names.includes('cpu') || names.includes('memory') ? [] : [forbidden(path, 'HugePages require cpu or memory')];
}

/** Resource names are the user's: "constructor" must not find what every object has. */
export function quantityOf(list: ResourceList | undefined, name: string): QuantityText | undefined {
  return list !== undefined && Object.hasOwn(list, name) ? list[name] : undefined;
}
