import { CodedError } from '../../kit/errors.ts';
import type { Pod } from '../../model/pod.ts';
import { isQuantity, wholeValueOf } from '../../model/quantity.ts';

const RESOURCE = 'hugepages-';
const MEDIUM = 'HugePages';

export function isHugePages(medium: string): boolean {
  return medium === MEDIUM || medium.startsWith(`${MEDIUM}-`);
}

/**
 * Bytes of the pages of a "HugePages" or "HugePages-<size>" emptyDir: those that the pod requests
 * (pkg/volume/emptydir getPageSizeMountOption). Throws InvalidObject where it requests none of them, or several sizes.
 */
export function pageBytesOf(pod: Pod, medium: string): number {
  const wanted = medium === MEDIUM ? undefined : bytesOf(medium.slice(MEDIUM.length + 1), medium);
  const { containers, initContainers = [], resources } = pod.spec;
  const lists = [resources?.requests, ...[...containers, ...initContainers].map((one) => one.resources?.requests)];
  const sizes = new Set(
    lists.flatMap((list) =>
      Object.keys(list ?? {})
        .filter((name) => name.startsWith(RESOURCE))
        .map((name) => bytesOf(name.slice(RESOURCE.length), name)),
    ),
  );
  if (wanted === undefined && sizes.size > 1) {
    throw invalid(`medium: ${medium} can't be used if container requests multiple huge page sizes`, medium);
  }
  const [found] = wanted === undefined ? sizes : [...sizes].filter((size) => size === wanted);
  if (found !== undefined) return found;
  throw invalid(
    `medium ${medium}: hugePages storage requested, but there is no resource request for huge pages`,
    medium,
  );
}

function bytesOf(text: string, whole: string): number {
  if (isQuantity(text) && wholeValueOf(text) > 0) return wholeValueOf(text);
  throw invalid(`${whole}: want a page size such as 2Mi after the "-"`, whole);
}

function invalid(message: string, medium: string): CodedError {
  return new CodedError('InvalidObject', message, { medium });
}
