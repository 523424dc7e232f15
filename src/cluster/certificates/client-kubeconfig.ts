import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { CodedError } from '../../kit/errors.ts';
import { writeDurably } from './certificate-store.ts';

type Section = Record<string, unknown>;

/**
 * Writes the kubeconfig that names a client certificate, with the API server of the bootstrap kubeconfig (bootstrap.go,
 * writeKubeconfigFromBootstrapping). Both are checked already. Mode 0600, whole or not at all.
 */
export async function writeClientKubeconfig(path: string, bootstrapPath: string, pairPath: string): Promise<void> {
  const { parse, stringify } = await import('yaml');
  const cluster = currentCluster(parse(await readFile(bootstrapPath, 'utf8')), bootstrapPath);
  const authority = cluster['certificate-authority'];
  if (typeof authority === 'string' && authority !== '') {
    // It is relative to the file that it stands in.
    cluster['certificate-authority'] = resolve(dirname(bootstrapPath), authority);
  }
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'default-cluster', cluster }],
    contexts: [
      {
        name: 'default-context',
        context: { cluster: 'default-cluster', namespace: 'default', user: 'default-auth' },
      },
    ],
    'current-context': 'default-context',
    users: [{ name: 'default-auth', user: { 'client-certificate': pairPath, 'client-key': pairPath } }],
  };
  await writeDurably(path, stringify(config));
}

function currentCluster(root: unknown, path: string): Section {
  const config = sectionOf(root);
  const context = sectionOf(named(config['contexts'], config['current-context'])?.['context']);
  const cluster = named(config['clusters'], context['cluster'])?.['cluster'];
  if (cluster === undefined) {
    throw new CodedError('InvalidConfig', `kubeconfig ${path}: its current context names no cluster`, { path });
  }
  return { ...sectionOf(cluster) };
}

function named(list: unknown, name: unknown): Section | undefined {
  return Array.isArray(list) ? list.map(sectionOf).find((entry) => entry['name'] === name) : undefined;
}

function sectionOf(value: unknown): Section {
  return typeof value === 'object' && value !== null ? (value as Section) : {};
}
