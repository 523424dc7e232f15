import { parseIp } from '../../model/cidr.ts';
import type { IPFamily } from '../../model/service.ts';
import type { FieldError } from '../port.ts';
import { invalid } from './field-errors.ts';

/** As `parseIp`, but for new values: leading zeros and IPv4-mapped IPv6 are refused (strict parsing). */
export function familyOfNew(text: string): IPFamily | undefined {
  const ip = parseIp(text);
  if (ip === undefined) return undefined;
  if (!text.includes(':') && text.split('.').some((part) => part.length > 1 && part.startsWith('0'))) return undefined;
  if (text.includes(':') && ip.family === 'IPv4') return undefined;
  return ip.family;
}

export function ipErrors(field: string, text: string): FieldError[] {
  if (familyOfNew(text) !== undefined) return [];
  return [invalid(field, text, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)')];
}
