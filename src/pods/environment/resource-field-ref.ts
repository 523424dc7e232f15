import { CodedError } from '../../kit/errors.ts';
import type { QuantityText, ResourceList } from '../../model/meta.ts';
import type { Container, Pod, ResourceFieldSelector } from '../../model/pod.ts';
import { parseQuantity } from '../../model/quantity.ts';

const DEFAULTED = new Set(['cpu', 'memory', 'ephemeral-storage']);

/**
 * A container's limit or request as a whole number of divisors, rounded up (pkg/api/v1/resource
 * ExtractContainerResourceValue). A limit that is not set, or is zero, counts as what the pod or else the node allows; a
 * request that is not set counts as the limit, as the API's defaulting has it. Throws InvalidObject.
 */
export function resourceFieldValue(
  pod: Pod,
  container: Container,
  selector: ResourceFieldSelector,
  allocatable: ResourceList,
): string {
  const [list, name] = splitOnce(selector.resource);
  const known = DEFAULTED.has(name) || name.startsWith('hugepages-');
  if ((list !== 'limits' && list !== 'requests') || !known) {
    throw new CodedError('InvalidObject', `unsupported container resource : ${selector.resource}`, {
      resource: selector.resource,
    });
  }
  const { limits, requests } = container.resources ?? {};
  const quantity = list === 'limits' ? limitOf(pod, limits, name, allocatable) : (requests?.[name] ?? limits?.[name]);
  const unit = selector.divisor === undefined || isZero(selector.divisor) ? '1' : selector.divisor;
  // CPU is counted in thousandths and everything else in whole units before dividing, as upstream does.
  const grain = name === 'cpu' ? 1_000_000n : 1_000_000_000n;
  const value = ceilDivide(quantity === undefined ? 0n : parseQuantity(quantity), grain);
  return String(ceilDivide(value, ceilDivide(parseQuantity(unit), grain)));
}

/** The container that a resourceFieldRef means: the named one of the pod, or the one it stands in. */
export function containerOf(pod: Pod, name: string | undefined, own: Container | undefined): Container {
  if (name === undefined || name === '' || name === own?.name) {
    if (own !== undefined) return own;
    throw new CodedError('InvalidObject', 'resourceFieldRef needs containerName in a volume');
  }
  const all = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  const found = all.find((container) => container.name === name);
  if (found === undefined) throw new CodedError('InvalidObject', `container ${name} not found`, { container: name });
  return found;
}

function limitOf(
  pod: Pod,
  limits: ResourceList | undefined,
  name: string,
  allocatable: ResourceList,
): QuantityText | undefined {
  const own = limits?.[name];
  if (!DEFAULTED.has(name) || (own !== undefined && !isZero(own))) return own;
  const ofPod = pod.spec.resources?.limits?.[name];
  const ofNode = allocatable[name];
  if (ofPod === undefined) return ofNode;
  return ofNode !== undefined && parseQuantity(ofPod) > parseQuantity(ofNode) ? ofNode : ofPod;
}

function isZero(quantity: QuantityText): boolean {
  return parseQuantity(quantity) === 0n;
}

function splitOnce(resource: string): [string, string] {
  const dot = resource.indexOf('.');
  return dot === -1 ? [resource, ''] : [resource.slice(0, dot), resource.slice(dot + 1)];
}

function ceilDivide(dividend: bigint, divisor: bigint): bigint {
  return dividend <= 0n ? 0n : (dividend + divisor - 1n) / divisor;
}
