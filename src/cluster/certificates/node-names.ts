import { NODE_USER_PREFIX, NODES_ORGANIZATION } from '../../model/certificates.ts';
import { formatIp, parseIp } from '../../model/cidr.ts';
import type { NodeAddress } from '../../model/node.ts';
import type { CertificateNames } from '../../model/x509/names.ts';

/** Of EC keys: without "key encipherment", which RSA keys would have. */
export const CLIENT_USAGES = ['digital signature', 'client auth'] as const;
export const SERVING_USAGES = ['digital signature', 'server auth'] as const;

/** As the Node authorizer knows a node; nothing that it serves under. */
export function nodeNames(nodeName: string): CertificateNames {
  return {
    commonName: `${NODE_USER_PREFIX}${nodeName}`,
    organizations: [NODES_ORGANIZATION],
    dnsNames: [],
    ipAddresses: [],
  };
}

/**
 * The same with the addresses of the node's status, sorted. Undefined without any IP address: then the status is not
 * complete yet (pkg/kubelet/certificate/kubelet.go, newGetTemplateFn).
 */
export function servingNames(nodeName: string, addresses: readonly NodeAddress[]): CertificateNames | undefined {
  const dnsNames = new Set<string>();
  const ipAddresses = new Set<string>();
  for (const { type, address } of addresses) {
    if (address === '') continue;
    const ip = parseIp(address);
    const mayBeName = type === 'Hostname' || type === 'InternalDNS' || type === 'ExternalDNS';
    if (ip !== undefined && !type.endsWith('DNS')) ipAddresses.add(formatIp(ip));
    else if (mayBeName) dnsNames.add(address);
  }
  if (ipAddresses.size === 0) return undefined;
  return { ...nodeNames(nodeName), dnsNames: [...dnsNames].sort(), ipAddresses: [...ipAddresses].sort() };
}
