import { CodedError } from '../../kit/errors.ts';

/** The parts of a cgroup path below the root. Throws InvalidArgument: a path here must never lead out of its hierarchy. */
export function cgroupParts(path: string): string[] {
  const parts = path.split('/').slice(1);
  if (
    !path.startsWith('/') ||
    parts.length === 0 ||
    parts.some((part) => part === '' || part === '.' || part === '..')
  ) {
    throw new CodedError(
      'InvalidArgument',
      `cgroup path ${JSON.stringify(path)} needs the form /kubepods/burstable/podUID`,
    );
  }
  return parts;
}

/** As cgroupParts; the root, which may be read but never changed, has no parts. */
export function readableParts(path: string): string[] {
  return path === '/' ? [] : cgroupParts(path);
}
