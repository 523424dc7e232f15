import { CodedError } from '../../kit/errors.ts';
import { cgroupParts } from './cgroup-path.ts';

/**
 * A cgroup's path as the driver systemd has it: each level a slice that is named after all levels above it, with "_" for
 * the dashes of a part, for a dash is what systemd tells levels apart by (systemd.slice(5); kubelet
 * cgroup_manager_linux.go). "/kubepods/burstable/poda-b" → "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poda_b.slice".
 */
export function slicePath(path: string): string {
  let name = '';
  const slices = cgroupParts(path).map((part) => {
    if (!/^[\w:.-]+$/.test(part)) {
      throw new CodedError('InvalidArgument', `cgroup path ${JSON.stringify(path)}: ${part} cannot name a slice`);
    }
    name = `${name}${name === '' ? '' : '-'}${part.replaceAll('-', '_')}`;
    return `${name}.slice`;
  });
  return `/${slices.join('/')}`;
}

/** The unit of such a path: its last part. */
export function sliceUnit(path: string): string {
  return slicePath(path).split('/').at(-1) ?? '';
}

/** The last part of the path that a slice was named after; undefined for what is no slice below `parent`. */
export function partOfSlice(parent: string, name: string): string | undefined {
  const prefix = parent === '/' ? '' : `${sliceUnit(parent).slice(0, -'.slice'.length)}-`;
  if (!name.endsWith('.slice') || !name.startsWith(prefix)) return undefined;
  const part = name.slice(prefix.length, -'.slice'.length);
  return part === '' || part.includes('-') ? undefined : part.replaceAll('_', '-');
}
