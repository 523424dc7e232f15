import type { Container, Pod, Volume, VolumeProjection } from '../../model/pod.ts';

/** Volumes that a node makes without asking the API. */
const WITHOUT_API: ReadonlySet<string> = new Set([
  'awsElasticBlockStore',
  'azureDisk',
  'cephfs',
  'cinder',
  'downwardAPI',
  'emptyDir',
  'fc',
  'flexVolume',
  'flocker',
  'gcePersistentDisk',
  'gitRepo',
  'hostPath',
  'image',
  'iscsi',
  'nfs',
  'photonPersistentDisk',
  'portworxVolume',
  'quobyte',
  'rbd',
  'scaleIO',
  'storageos',
  'vsphereVolume',
]);

const OF_VOLUME: Readonly<Record<string, string>> = {
  configMap: 'configmaps (via configmap volumes)',
  secret: 'secrets (via secret volumes)',
  csi: 'csidrivers (via CSI volumes)',
  glusterfs: 'endpoints (via glusterFS volumes)',
  persistentVolumeClaim: 'persistentvolumeclaims',
  ephemeral: 'persistentvolumeclaims (via ephemeral volumes)',
  azureFile: 'secrets (via azureFile volumes)',
};

const OF_PROJECTION: Readonly<Record<string, string>> = {
  configMap: 'configmaps (via projected volumes)',
  secret: 'secrets (via projected volumes)',
  serviceAccountToken: 'serviceaccounts (via projected volumes)',
  clusterTrustBundle: 'clustertrustbundles',
  podCertificate: 'podcertificates',
};

/** Fields by which volume plugins name a Secret. */
const SECRET_FIELDS = ['secretRef', 'secretName', 'nodePublishSecretRef'];

/**
 * What a static pod may not name because only the API has it (gate PreventStaticPodAPIReferences; pkg/api/pod/util.go
 * HasAPIObjectReference), in kubelet's words; undefined when it names nothing of the kind.
 */
export function apiReferenceOf(pod: Pod): string | undefined {
  const { spec } = pod;
  if (spec.serviceAccountName !== undefined && spec.serviceAccountName !== '') return 'serviceaccounts';
  const containers = [...(spec.initContainers ?? []), ...spec.containers, ...(spec.ephemeralContainers ?? [])];
  const volumes = spec.volumes ?? [];
  if ((spec.imagePullSecrets?.length ?? 0) > 0 || containers.some(namesSecret) || volumes.some(hasSecret))
    return 'secrets';
  if (containers.some(namesConfigMap) || volumes.some(hasConfigMap)) return 'configmaps';
  if ((spec.resourceClaims?.length ?? 0) > 0) return 'resourceclaims';
  for (const volume of volumes) {
    const found = ofVolume(volume);
    if (found !== undefined) return found;
  }
  return undefined;
}

function namesSecret({ env, envFrom }: Container): boolean {
  return (
    envFrom?.some(({ secretRef }) => secretRef !== undefined) === true ||
    env?.some(({ valueFrom }) => valueFrom?.secretKeyRef !== undefined) === true
  );
}

function namesConfigMap({ env, envFrom }: Container): boolean {
  return (
    envFrom?.some(({ configMapRef }) => configMapRef !== undefined) === true ||
    env?.some(({ valueFrom }) => valueFrom?.configMapKeyRef !== undefined) === true
  );
}

function hasSecret(volume: Volume): boolean {
  if (volume.projected?.sources?.some(({ secret }) => secret !== undefined) === true) return true;
  return Object.values(volume).some((source: unknown) => {
    if (typeof source !== 'object' || source === null) return false;
    return SECRET_FIELDS.some((field) => (source as Record<string, unknown>)[field] !== undefined);
  });
}

function hasConfigMap(volume: Volume): boolean {
  return (
    volume.configMap !== undefined ||
    volume.projected?.sources?.some(({ configMap }) => configMap !== undefined) === true
  );
}

function ofVolume(volume: Volume): string | undefined {
  const source = Object.keys(volume).find((key) => key !== 'name') ?? 'emptyDir';
  if (source === 'projected') return volume.projected?.sources?.map(ofProjection).find((found) => found !== undefined);
  if (WITHOUT_API.has(source)) return undefined;
  return OF_VOLUME[source] ?? `${source} volumes`;
}

function ofProjection(source: VolumeProjection): string | undefined {
  return Object.keys(source)
    .map((key) => OF_PROJECTION[key])
    .find((found) => found !== undefined);
}
