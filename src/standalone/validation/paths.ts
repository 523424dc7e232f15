import type { FieldError } from '../port.ts';
import { invalid, required } from './field-errors.ts';

/** A path below something: relative, and never up. */
export function localDescendingPathErrors(text: string, path: string): FieldError[] {
  if (text.startsWith('/')) return [invalid(path, text, 'must be a relative path')];
  return noBackstepErrors(text, path);
}

export function noBackstepErrors(text: string, path: string): FieldError[] {
  return text.split('/').includes('..') ? [invalid(path, text, "must not contain '..'")] : [];
}

/** The path of a file in a volume: local, and not of the names that the atomic writer keeps for itself. */
export function volumeFilePathErrors(text: string | undefined, path: string): FieldError[] {
  if (!text) return [required(path)];
  const errors = localDescendingPathErrors(text, path);
  if (text.startsWith('..') && !text.startsWith('../')) errors.push(invalid(path, text, "must not start with '..'"));
  return errors;
}

export function fileModeErrors(mode: number | undefined, path: string): FieldError[] {
  if (mode === undefined || (mode >= 0 && mode <= 0o777)) return [];
  return [invalid(path, mode, 'must be a number between 0 and 0777 (octal), both inclusive')];
}
