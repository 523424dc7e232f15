/** Names of a container's log files beside the live one (kubelet container_log_manager.go). */
const COMPRESSED = '.gz';
const TEMPORARY = '.tmp';

export interface Rotation {
  /** What earlier rotations left half done, and what is too old, oldest first. */
  readonly remove: readonly string[];
  /** Rotated logs that are still plain. */
  readonly compress: readonly string[];
}

/**
 * What to do with the rotated files of `log` before it is rotated again: after that there are `maxFiles` at most, the live
 * one and the newest rotated one, which stays plain for those who still read it, among them. `names` are all names in the
 * log's directory.
 */
export function planRotation(log: string, names: readonly string[], maxFiles: number): Rotation {
  const rotated = names.filter((name) => name.startsWith(`${log}.`));
  const all = new Set(rotated);
  const isUsed = (name: string): boolean =>
    !name.endsWith(TEMPORARY) && (name.endsWith(COMPRESSED) || !all.has(name + COMPRESSED));
  const used = rotated.filter(isUsed).sort();
  const tooMany = Math.max(0, used.length - Math.max(0, maxFiles - 2));
  return {
    remove: [...rotated.filter((name) => !isUsed(name)), ...used.slice(0, tooMany)],
    compress: used.slice(tooMany).filter((name) => !name.endsWith(COMPRESSED)),
  };
}

export function compressedName(name: string): { readonly temporary: string; readonly final: string } {
  return { temporary: name + TEMPORARY, final: name + COMPRESSED };
}

/** `0.log` → `0.log.20260131-235959`, in local time as kubelet has it. */
export function rotatedName(log: string, now: number): string {
  const at = new Date(now);
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${at.getFullYear()}${two(at.getMonth() + 1)}${two(at.getDate())}`;
  return `${log}.${day}-${two(at.getHours())}${two(at.getMinutes())}${two(at.getSeconds())}`;
}
