import { dns1123LabelError, dns1123SubdomainError } from '../../model/names.ts';
import type { DownwardAPIVolumeFile, KeyToPath, Volume, VolumeProjection } from '../../model/pod.ts';
import { parseQuantity } from '../../model/quantity.ts';
import type { FieldError } from '../port.ts';
import { FILE_FIELDS, fieldRefErrors, resourceFieldErrors } from './env.ts';
import { child, duplicate, forbidden, invalid, required } from './field-errors.ts';
import { validateLabelSelector } from './label-selector.ts';
import { fileModeErrors, noBackstepErrors, volumeFilePathErrors } from './paths.ts';
import { validateClaimSpec } from './persistent-volume.ts';

/** A pod's volumes: named once, one known source each, and that one complete. */
export function validateVolumes(volumes: readonly Volume[] | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, volume] of (volumes ?? []).entries()) {
    const at = `${path}[${index}]`;
    const name = volume.name ?? '';
    errors.push(...sourceErrors(volume, at));
    if (name === '') {
      errors.push(required(child(at, 'name')));
      continue;
    }
    const error = dns1123LabelError(name);
    if (error !== undefined) errors.push(invalid(child(at, 'name'), name, error));
    if (seen.has(name)) errors.push(duplicate(child(at, 'name'), name));
    seen.add(name);
  }
  return errors;
}

function sourceErrors(volume: Volume, path: string): FieldError[] {
  const sources = Object.keys(volume).filter((key) => key !== 'name');
  const [first, ...more] = sources;
  if (first === undefined) return [required(path, 'must specify a volume type')];
  return [
    ...checkSource(first, volume, child(path, first)),
    ...more.map((name) => forbidden(child(path, name), 'may not specify more than 1 volume type')),
  ];
}

function checkSource(name: string, volume: Volume, path: string): FieldError[] {
  const { hostPath, emptyDir, secret, configMap, downwardAPI, projected, persistentVolumeClaim } = volume;
  switch (name) {
    case 'hostPath':
      if (!hostPath?.path) return [required(child(path, 'path'))];
      return noBackstepErrors(hostPath.path, child(path, 'path'));
    case 'emptyDir':
      if (emptyDir?.sizeLimit === undefined || parseQuantity(emptyDir.sizeLimit) >= 0n) return [];
      return [forbidden(child(path, 'sizeLimit'), 'SizeLimit field must be a valid resource quantity')];
    case 'secret':
      return [
        ...(secret?.secretName ? [] : [required(child(path, 'secretName'))]),
        ...fileModeErrors(secret?.defaultMode, child(path, 'defaultMode')),
        ...itemErrors(secret?.items, child(path, 'items')),
      ];
    case 'configMap':
      return [
        ...(configMap?.name ? [] : [required(child(path, 'name'))]),
        ...fileModeErrors(configMap?.defaultMode, child(path, 'defaultMode')),
        ...itemErrors(configMap?.items, child(path, 'items')),
      ];
    case 'downwardAPI':
      return [
        ...fileModeErrors(downwardAPI?.defaultMode, child(path, 'defaultMode')),
        ...downwardFileErrors(downwardAPI?.items, path),
      ];
    case 'projected':
      return [
        ...fileModeErrors(projected?.defaultMode, child(path, 'defaultMode')),
        ...projectionErrors(projected?.sources, path),
      ];
    case 'persistentVolumeClaim':
      return persistentVolumeClaim?.claimName ? [] : [required(child(path, 'claimName'))];
    case 'nfs':
      return nfsErrors(volume.nfs as { server?: string; path?: string }, path);
    case 'csi': {
      const driver = (volume.csi as { driver?: string }).driver;
      return driver ? [] : [required(child(path, 'driver'))];
    }
    case 'ephemeral': {
      const template = (volume.ephemeral as { volumeClaimTemplate?: { spec?: object } }).volumeClaimTemplate;
      if (template === undefined) return [required(child(path, 'volumeClaimTemplate'))];
      return validateClaimSpec(template.spec ?? {}, `${path}.volumeClaimTemplate.spec`);
    }
    default:
      return [];
  }
}

export function nfsErrors(nfs: { server?: string; path?: string }, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!nfs.server) errors.push(required(child(path, 'server')));
  if (!nfs.path) errors.push(required(child(path, 'path')));
  else if (!nfs.path.startsWith('/')) errors.push(invalid(child(path, 'path'), nfs.path, 'must be an absolute path'));
  return errors;
}

function itemErrors(items: readonly KeyToPath[] | undefined, path: string): FieldError[] {
  return (items ?? []).flatMap((item, index) => {
    const at = `${path}[${index}]`;
    return [
      ...(item.key ? [] : [required(child(at, 'key'))]),
      ...volumeFilePathErrors(item.path, child(at, 'path')),
      ...fileModeErrors(item.mode, child(at, 'mode')),
    ];
  });
}

function downwardFileErrors(items: readonly DownwardAPIVolumeFile[] | undefined, path: string): FieldError[] {
  return (items ?? []).flatMap((item, index) => {
    const at = `${path}.items[${index}]`;
    const errors = [
      ...volumeFilePathErrors(item.path, child(at, 'path')),
      ...fileModeErrors(item.mode, child(at, 'mode')),
    ];
    if (item.fieldRef !== undefined) {
      errors.push(...fieldRefErrors(item.fieldRef, child(at, 'fieldRef'), FILE_FIELDS, false));
      if (item.resourceFieldRef !== undefined) {
        errors.push(invalid(at, 'resource', 'fieldRef and resourceFieldRef can not be specified simultaneously'));
      }
    } else if (item.resourceFieldRef !== undefined) {
      errors.push(...resourceFieldErrors(item.resourceFieldRef, child(at, 'resourceFieldRef'), true));
    } else errors.push(required(at, 'one of fieldRef and resourceFieldRef is required'));
    return errors;
  });
}

const PROJECTIONS = [
  'secret',
  'configMap',
  'downwardAPI',
  'serviceAccountToken',
  'clusterTrustBundle',
  'podCertificate',
] as const;

function projectionErrors(sources: readonly VolumeProjection[] | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const files = new Set<string>();
  for (const [index, source] of (sources ?? []).entries()) {
    const at = `${path}.sources[${index}]`;
    const set = PROJECTIONS.filter((name) => (source as Record<string, unknown>)[name] !== undefined);
    const [first, ...more] = set;
    if (first === undefined) errors.push(required(at, 'must specify one of the projected volume sources'));
    else errors.push(...projectionSourceErrors(first, source, child(at, first)));
    for (const name of more)
      errors.push(forbidden(child(at, name), 'may not specify more than 1 volume type per source'));
    for (const [file, where] of filesOf(source, at)) {
      if (files.has(file)) errors.push(invalid(where, file, 'conflicting duplicate paths'));
      files.add(file);
    }
  }
  return errors;
}

function projectionSourceErrors(name: string, source: VolumeProjection, path: string): FieldError[] {
  switch (name) {
    case 'secret':
    case 'configMap': {
      const projection = name === 'secret' ? source.secret : source.configMap;
      const errors = projection?.name ? [] : [required(child(path, 'name'))];
      return [...errors, ...itemErrors(projection?.items, child(path, 'items'))];
    }
    case 'downwardAPI':
      return downwardFileErrors(source.downwardAPI?.items, path);
    case 'serviceAccountToken': {
      const { path: file, expirationSeconds = 3600 } = source.serviceAccountToken ?? {};
      const errors = volumeFilePathErrors(file, child(path, 'path'));
      const at = child(path, 'expirationSeconds');
      if (expirationSeconds < 600)
        errors.push(invalid(at, expirationSeconds, 'may not specify a duration less than 10 minutes'));
      if (expirationSeconds > 2 ** 32)
        errors.push(invalid(at, expirationSeconds, 'may not specify a duration larger than 2^32 seconds'));
      return errors;
    }
    case 'clusterTrustBundle': {
      const bundle = source.clusterTrustBundle as {
        name?: string;
        signerName?: string;
        labelSelector?: object;
        path?: string;
      };
      const errors = volumeFilePathErrors(bundle.path, child(path, 'path'));
      if (!bundle.name && !bundle.signerName) {
        errors.push(required(path, 'either name or signerName must be specified'));
      }
      return [...errors, ...validateLabelSelector(bundle.labelSelector, child(path, 'labelSelector'))];
    }
    default:
      return [];
  }
}

/** Each file that a source makes, with the path of the field that names it. */
function* filesOf(source: VolumeProjection, path: string): Generator<[string, string]> {
  for (const name of ['secret', 'configMap', 'downwardAPI'] as const) {
    for (const [index, item] of (source[name]?.items ?? []).entries()) {
      if (item.path) yield [item.path, `${path}.${name}.items[${index}].path`];
    }
  }
  const token = source.serviceAccountToken?.path;
  if (token) yield [token, `${path}.serviceAccountToken.path`];
}

export function imagePullSecretErrors(secrets: readonly { name?: string }[] | undefined, path: string): FieldError[] {
  return (secrets ?? []).flatMap((secret, index) => {
    const at = `${path}[${index}].name`;
    if (!secret.name) return [required(at)];
    const error = dns1123SubdomainError(secret.name);
    return error === undefined ? [] : [invalid(at, secret.name, error)];
  });
}
