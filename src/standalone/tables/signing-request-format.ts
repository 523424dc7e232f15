import type { CertificateSigningRequest } from '../../model/certificates.ts';
import type { KubeObject } from '../../model/meta.ts';
import { age, humanDuration } from './human-duration.ts';
import { type Cell, NONE, type TableFormat } from './table.ts';

/** `kubectl get csr` (pkg/printers/internalversion printCertificateSigningRequest). */
export const signingRequestFormat: TableFormat = {
  columns: [
    { name: 'Name', type: 'string', format: 'name' },
    { name: 'Age', type: 'string' },
    { name: 'SignerName', type: 'string' },
    { name: 'Requestor', type: 'string' },
    { name: 'RequestedDuration', type: 'string' },
    { name: 'Condition', type: 'string' },
  ],
  cells: (object: KubeObject, now: number): Cell[] => {
    const csr = object as CertificateSigningRequest;
    const { signerName, username, expirationSeconds } = csr.spec;
    return [
      csr.metadata.name ?? '',
      age(csr.metadata.creationTimestamp, now),
      signerName || NONE,
      username ?? '',
      expirationSeconds === undefined ? NONE : humanDuration(expirationSeconds * 1000),
      condition(csr),
    ];
  },
};

function condition({ status }: CertificateSigningRequest): string {
  const has = (wanted: string): boolean => status?.conditions?.some(({ type }) => type === wanted) ?? false;
  const words = [has('Denied') ? 'Denied' : has('Approved') ? 'Approved' : 'Pending'];
  if (has('Failed')) words.push('Failed');
  if ((status?.certificate ?? '') !== '') words.push('Issued');
  return words.join(',');
}
