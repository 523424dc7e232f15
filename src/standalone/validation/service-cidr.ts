import { formatCidr, parseCidr } from '../../model/cidr.ts';
import type { ServiceCIDR } from '../../model/objects.ts';
import type { FieldError } from '../port.ts';
import { invalid, required } from './field-errors.ts';

const MOST = 2;

/** ValidateServiceCIDR, ValidateServiceCIDRUpdate (pkg/apis/networking/validation): one CIDR may be joined by another. */
export function validateServiceCIDR(object: ServiceCIDR, previous: ServiceCIDR | undefined): FieldError[] {
  const cidrs = object.spec?.cidrs ?? [];
  if (previous === undefined) return specErrors(cidrs);
  const before = previous.spec?.cidrs ?? [];
  if (before.length === cidrs.length) {
    return cidrs.flatMap((cidr, index) => (cidr === before[index] ? [] : [immutable(index, cidr)]));
  }
  if (before.length !== 1 || cidrs.length !== MOST) return [invalid('spec.cidrs', cidrs, 'field is immutable')];
  return [...(cidrs[0] === before[0] ? [] : [immutable(0, cidrs[0])]), ...specErrors(cidrs)];
}

function specErrors(cidrs: readonly string[]): FieldError[] {
  if (cidrs.length === 0) return [required('spec.cidrs', 'at least one CIDR required')];
  if (cidrs.length > MOST) return [invalid('spec.cidrs', cidrs, 'may only hold up to 2 values')];
  const errors: FieldError[] = [];
  const families: string[] = [];
  for (const [index, text] of cidrs.entries()) {
    const cidr = parseCidr(text);
    if (cidr === undefined || formatCidr(cidr) !== text) {
      errors.push(
        invalid(`spec.cidrs[${index}]`, text, 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)'),
      );
    } else families.push(cidr.family);
  }
  if (families.length === MOST && families[0] === families[1]) {
    const detail = 'may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64';
    errors.push(invalid('spec.cidrs', cidrs, detail));
  }
  return errors;
}

function immutable(index: number, cidr: string | undefined): FieldError {
  return invalid(`spec.cidrs[${index}]`, cidr, 'field is immutable');
}
