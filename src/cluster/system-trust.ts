import { readFile } from 'node:fs/promises';

/** Where distributions keep their authorities (Go's crypto/x509/root_linux.go); Debian's, Fedora's, SUSE's, Alpine's. */
const BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** The machine's authorities, which a kubeconfig without one means; undefined: there are none, Node's own are used. */
export async function systemTrust(): Promise<string | undefined> {
  for (const path of [process.env['SSL_CERT_FILE'] ?? '', ...BUNDLES]) {
    try {
      if (path !== '') return await readFile(path, 'utf8');
    } catch {
      // The next one may be there.
    }
  }
  return undefined;
}
