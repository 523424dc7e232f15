import { CodedError } from '../../kit/errors.ts';
import type { Pod } from '../../model/pod.ts';

const LABEL_LENGTH = 63;
/** Linux HOST_NAME_MAX, the longest that sethostname(2) takes. */
const KERNEL_LENGTH = 64;

export interface PodHostname {
  /** At most 63 characters. */
  readonly hostname: string;
  /** `<subdomain>.<namespace>.svc.<cluster domain>`; empty without a subdomain. */
  readonly domain: string;
}

/**
 * The name that a pod gives itself (kubelet GeneratePodHostNameAndDomain): spec.hostnameOverride, or spec.hostname, or
 * the pod's name, cut to 63 characters without a trailing "-" or ".". Throws InvalidObject when nothing is left.
 */
export function hostnameOf(pod: Pod, clusterDomain: string): PodHostname {
  const { hostnameOverride, hostname, subdomain } = pod.spec;
  const wanted = hostnameOverride || hostname || (pod.metadata.name ?? '');
  const cut = wanted.length > LABEL_LENGTH ? wanted.slice(0, LABEL_LENGTH).replace(/[-.]+$/, '') : wanted;
  if (cut === '') {
    throw new CodedError('InvalidObject', `hostname for pod was invalid: ${JSON.stringify(wanted)}`, {
      hostname: wanted,
    });
  }
  const domain =
    subdomain && !hostnameOverride ? `${subdomain}.${pod.metadata.namespace ?? ''}.svc.${clusterDomain}` : '';
  return { hostname: cut, domain };
}

/**
 * The hostname of the pod's sandbox: the FQDN with setHostnameAsFQDN. Empty for host network, whose hostname is the
 * node's. Throws InvalidObject when the FQDN is longer than 64 characters: such a pod cannot start.
 */
export function sandboxHostnameOf(pod: Pod, clusterDomain: string): string {
  if (pod.spec.hostNetwork === true) return '';
  const { hostname, domain } = hostnameOf(pod, clusterDomain);
  if (pod.spec.setHostnameAsFQDN !== true || domain === '') return hostname;
  const fqdn = `${hostname}.${domain}`;
  if (fqdn.length > KERNEL_LENGTH) {
    throw new CodedError(
      'InvalidObject',
      `failed to construct FQDN from pod hostname and cluster domain, FQDN ${fqdn} is too long (${KERNEL_LENGTH} characters is the max, ${fqdn.length} characters requested)`,
      { fqdn },
    );
  }
  return fqdn;
}
