import type { Volume, VolumeMount } from '../../../src/model/pod.ts';
import type { Schemas } from '../../../src/standalone/schema/port.ts';

/** Objects that every pod may name; the test makes them before it makes pods. */
export const CONFIG_MAP = 'settings';
export const SECRET = 'keys';

type Source = Omit<Volume, 'name'>;

const metadata = (path: string, fieldPath: string) => ({ path, fieldRef: { apiVersion: 'v1', fieldPath } });

/** Volumes that this node provides. */
export const GOOD_VOLUMES: readonly Source[] = [
  { emptyDir: {} },
  { emptyDir: { sizeLimit: '64Mi' } },
  { emptyDir: { medium: 'Memory' } },
  { emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
  { configMap: { name: CONFIG_MAP } },
  { configMap: { name: CONFIG_MAP, defaultMode: 0o440, items: [{ key: 'a', path: 'deep/er/a', mode: 0o400 }] } },
  { configMap: { name: 'absent', optional: true } },
  { secret: { secretName: SECRET, defaultMode: 0o400 } },
  { secret: { secretName: SECRET, items: [{ key: 'a', path: 'a', mode: 0o600 }] } },
  { secret: { secretName: 'absent', optional: true } },
  {
    downwardAPI: {
      defaultMode: 0o444,
      items: [
        metadata('labels', 'metadata.labels'),
        metadata('annotations', 'metadata.annotations'),
        { ...metadata('uid', 'metadata.uid'), mode: 0o400 },
        { path: 'cpu', resourceFieldRef: { containerName: 'c0', resource: 'limits.cpu', divisor: '1m' } },
        { path: 'memory', resourceFieldRef: { containerName: 'c0', resource: 'requests.memory', divisor: '1Mi' } },
      ],
    },
  },
  {
    projected: {
      defaultMode: 0o440,
      sources: [
        { configMap: { name: CONFIG_MAP, items: [{ key: 'a', path: 'map/a', mode: 0o444 }] } },
        { secret: { name: SECRET, items: [{ key: 'a', path: 'secret/a' }] } },
        { secret: { name: 'absent', optional: true } },
        { configMap: { name: 'absent', optional: true } },
        { downwardAPI: { items: [metadata('me/name', 'metadata.name')] } },
        { serviceAccountToken: { path: 'token', audience: 'somebody', expirationSeconds: 3600 } },
      ],
    },
  },
];

/** What the node may refuse, or can only give to a mount of a certain kind. */
export const ODD_VOLUMES: readonly Source[] = [
  { configMap: { name: 'absent' } },
  { configMap: { name: CONFIG_MAP, items: [{ key: 'absent', path: 'x' }] } },
  { secret: { secretName: 'absent' } },
  { emptyDir: { medium: 'HugePages' } },
  { emptyDir: { medium: 'HugePages-2Mi', sizeLimit: '4Mi' } },
  { projected: { sources: [] } },
  { persistentVolumeClaim: { claimName: 'absent', readOnly: true } },
  { image: { reference: 'deckhand.local/busybox:1', pullPolicy: 'IfNotPresent' } },
  { image: { reference: '127.0.0.1:5999/none:1', pullPolicy: 'Always' } },
  { nfs: { server: '127.0.0.1', path: '/nothing', readOnly: true } },
  {
    csi: {
      driver: 'none.example.com',
      readOnly: true,
      fsType: 'ext4',
      volumeAttributes: { a: 'b' },
      nodePublishSecretRef: { name: SECRET },
    },
  },
  {
    ephemeral: {
      volumeClaimTemplate: {
        metadata: { labels: { a: 'b' } },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Mi' } } },
      },
    },
  },
  {
    projected: {
      sources: [
        { clusterTrustBundle: { signerName: 'example.com/s', labelSelector: {}, optional: true, path: 'ca' } },
        { clusterTrustBundle: { name: 'absent', path: 'ca2' } },
      ],
    },
  },
  {
    projected: {
      sources: [
        {
          podCertificate: {
            signerName: 'example.com/s',
            keyType: 'ED25519',
            maxExpirationSeconds: 3600,
            credentialBundlePath: 'bundle',
            keyPath: 'key',
            certificateChainPath: 'chain',
            userAnnotations: { 'example.com/a': 'b' },
          },
        } as object,
      ],
    },
  },
];

/** Names below the host folder that the test makes; the others are made, or are not there. */
export const HOST_ENTRIES = { directory: 'directory', file: 'file', socket: 'socket' } as const;

/** hostPath volumes, all below `folder`. */
export function hostVolumes(folder: string): readonly Source[] {
  const at = (name: string, type?: NonNullable<Volume['hostPath']>['type']): Source => ({
    hostPath: { path: `${folder}/${name}`, ...(type === undefined ? {} : { type }) },
  });
  const { directory, file, socket } = HOST_ENTRIES;
  return [
    at(directory),
    at(directory, ''),
    at(directory, 'Directory'),
    at(file, 'File'),
    at(socket, 'Socket'),
    at('made/deep', 'DirectoryOrCreate'),
    at('made-file', 'FileOrCreate'),
    at('absent', 'Directory'),
    at(file, 'Directory'),
    at(directory, 'File'),
    at(file, 'CharDevice'),
    at(file, 'BlockDevice'),
  ];
}

/** Volumes of clouds and storage systems, each with no more than it must have. */
export function foreignVolumes(schemas: Schemas): readonly Source[] {
  const known = new Set(['name', 'hostPath', ...[...GOOD_VOLUMES, ...ODD_VOLUMES].flatMap((one) => Object.keys(one))]);
  return [...schemas.named('Volume').fields.values()].flatMap(({ name, schema }) => {
    if (known.has(name) || schema.kind !== 'object') return [];
    const fields = [...schema.fields.values()].filter(({ required }) => required);
    const filled = fields.map((field) => {
      const leaf = field.schema.kind === 'leaf' ? field.schema.type : field.schema.kind;
      const value = leaf === 'int32' ? 1 : leaf === 'list' ? ['127.0.0.1'] : leaf === 'object' ? { name: SECRET } : 'x';
      return [field.name, value] as const;
    });
    return [{ [name]: Object.fromEntries(filled) } as Source];
  });
}

/** How volumes are mounted, beside plainly. `$(NAME)` is a variable of every container. */
export const MOUNTS: readonly Partial<VolumeMount>[] = [
  { readOnly: true },
  { readOnly: true, recursiveReadOnly: 'Disabled' },
  { readOnly: true, recursiveReadOnly: 'IfPossible' },
  { readOnly: true, recursiveReadOnly: 'Enabled' },
  { mountPropagation: 'None' },
  { mountPropagation: 'HostToContainer' },
  { mountPropagation: 'Bidirectional' },
  { subPath: 'some/where' },
  { subPath: 'a' },
  { subPathExpr: '$(NAME)/below' },
  { subPathExpr: '$(ABSENT)' },
  { mountPath: 'not/absolute' },
  { mountPath: '/' },
  { mountPath: '/etc/hosts' },
  { mountPath: '/dev/shm' },
  { mountPath: '/dev/termination-log' },
  { mountPath: '/proc/self' },
  { mountPath: '/bin/sh' },
  { mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' },
  { mountPath: '/with blank and ünïcode' },
  { mountPath: `/${'long/'.repeat(60)}` },
];
