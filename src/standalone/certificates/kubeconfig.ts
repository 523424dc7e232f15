import { X509Certificate } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import type { KeyPair } from './key-pair.ts';

export interface KubeconfigContents {
  readonly server: string;
  /** PEM. */
  readonly authority: string;
  readonly user: string;
  readonly credential: KeyPair | { readonly token: string };
}

/** The text of a kubeconfig: JSON, which every reader of YAML reads. */
export function kubeconfigText({ server, authority, user, credential }: KubeconfigContents): string {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const cluster = { server, 'certificate-authority-data': base64(authority) };
  const login =
    'token' in credential
      ? { token: credential.token }
      : { 'client-certificate-data': base64(credential.certificate), 'client-key-data': base64(credential.key) };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'deckhand', cluster }],
    users: [{ name: user, user: login }],
    contexts: [{ name: 'deckhand', context: { cluster: 'deckhand', user } }],
    'current-context': 'deckhand',
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}

/** Writes a file that only its owner may read, whole or not at all. */
export async function writePrivateFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  await writeFile(temporary, text, { mode: 0o600 });
  await rename(temporary, path);
}

/** Whether a certificate speaks for all these names and addresses. */
export function coversNames(certificate: string, names: readonly string[], addresses: readonly string[]): boolean {
  const parsed = new X509Certificate(certificate);
  return (
    names.every((name) => parsed.checkHost(name) !== undefined) &&
    addresses.every((address) => parsed.checkIP(address) !== undefined)
  );
}
