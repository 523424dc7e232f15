import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { parseDocument } from 'yaml';
import { CodedError, messageOf } from '../kit/errors.ts';
import { qualifiedNameError } from '../model/names.ts';
import { boolean, exactDuration, listOf, oneOf, type Report, section, text, type Values } from './fields.ts';
import { fieldText } from './layer.ts';

/** The plugins of one or more CredentialProviderConfig files, checked and in order. Times in milliseconds. */
export interface CredentialProviderConfig {
  readonly providers: readonly CredentialProvider[];
  /** "sha256:…" over the files, as kubelet's metric has it. */
  readonly hash: string;
}

export interface CredentialProvider {
  readonly name: string;
  readonly apiVersion: string;
  readonly matchImages: readonly string[];
  readonly defaultCacheMs: number;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly tokenAttributes:
    | {
        readonly audience: string;
        readonly cacheType: 'ServiceAccount' | 'Token';
        readonly requireServiceAccount: boolean;
        readonly requiredAnnotations: readonly string[];
        readonly optionalAnnotations: readonly string[];
      }
    | undefined;
}

const KIND = 'CredentialProviderConfig';
const CONFIG_VERSIONS = ['v1', 'v1beta1', 'v1alpha1'].map((version) => `kubelet.config.k8s.io/${version}`);
const PLUGIN_V1 = 'credentialprovider.kubelet.k8s.io/v1';
const EXTENSIONS = ['.json', '.yaml', '.yml'];

const tokenAttributes = section({
  serviceAccountTokenAudience: text(),
  cacheType: oneOf('ServiceAccount', 'Token'),
  requireServiceAccount: boolean(),
  requiredServiceAccountAnnotationKeys: listOf(text('an annotation key')),
  optionalServiceAccountAnnotationKeys: listOf(text('an annotation key')),
});

const provider = section({
  name: text('the name of a program'),
  apiVersion: oneOf(PLUGIN_V1, `${PLUGIN_V1}beta1`, `${PLUGIN_V1}alpha1`),
  matchImages: listOf(text('a registry with an optional path, such as *.example.com/team')),
  defaultCacheDuration: exactDuration(),
  args: listOf(text()),
  env: listOf(section({ name: text(), value: text() })),
  tokenAttributes,
});

const document = section({ apiVersion: text(), kind: text(), providers: listOf(provider) });

type Provider = Values<(typeof provider)['fields']>;

/**
 * Reads kubelet's --image-credential-provider-config: a file, or a folder whose .json, .yaml and .yml files are taken in
 * the order of their names. Throws InvalidConfig with a line for each mistake.
 */
export async function readCredentialProviderConfig(path: string): Promise<CredentialProviderConfig> {
  const mistakes: string[] = [];
  const providers: CredentialProvider[] = [];
  const hash = createHash('sha256');
  for (const file of await filesOf(path)) {
    const data = await readOrThrow(file);
    // Lengths in front, so that two files never hash as one.
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(data.length));
    hash.update(length).update(data);
    const report: Report = ({ path: place, message }) => mistakes.push(`${file}: ${fieldText(place)} ${message}`);
    for (const read of readFileOf(data.toString('utf8'), report)) {
      if (providers.some(({ name }) => name === read.name)) {
        mistakes.push(`${file}: duplicate provider name ${JSON.stringify(read.name)} found in configuration file(s)`);
      }
      providers.push(read);
    }
  }
  if (mistakes.length === 0 && providers.length === 0) mistakes.push(`${path}: providers: at least one is required`);
  if (mistakes.length > 0) {
    throw new CodedError('InvalidConfig', `credential provider config: ${mistakes.join('; ')}`, { path });
  }
  return { providers, hash: `sha256:${hash.digest('hex')}` };
}

async function filesOf(path: string): Promise<readonly string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path];
    const names = (await readdir(path)).filter((name) => EXTENSIONS.some((extension) => name.endsWith(extension)));
    if (names.length > 0) return names.sort().map((name) => `${path}/${name}`);
  } catch (error) {
    throw new CodedError('InvalidConfig', `credential provider config ${path}: ${messageOf(error)}`, { path }, error);
  }
  throw new CodedError(
    'InvalidConfig',
    `credential provider config: no configuration files found in directory ${path}; want ${EXTENSIONS.join(', ')}`,
    { path },
  );
}

async function readOrThrow(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new CodedError('InvalidConfig', `credential provider config ${file}: ${messageOf(error)}`, { file }, error);
  }
}

function readFileOf(source: string, report: Report): CredentialProvider[] {
  const parsed = parseDocument(source);
  const [error] = parsed.errors;
  if (error !== undefined) {
    report({ level: 'error', path: [], message: `is not YAML: ${error.message.split('\n')[0]}` });
    return [];
  }
  const content = document.read(parsed.toJS(), [], report);
  if (content === undefined) return [];
  if (content.kind !== KIND) {
    report({ level: 'error', path: ['kind'], message: `is ${JSON.stringify(content.kind)}; expected ${KIND}` });
  }
  if (!CONFIG_VERSIONS.some((version) => version === content.apiVersion)) {
    const found = JSON.stringify(content.apiVersion);
    report({ level: 'error', path: ['apiVersion'], message: `is ${found}; expected ${CONFIG_VERSIONS.join(' or ')}` });
  }
  return (content.providers ?? []).map((found, index) => checked(found, ['providers', index], report));
}

function checked(found: Provider, path: readonly (string | number)[], report: Report): CredentialProvider {
  const wrong = (field: string, message: string): void => report({ level: 'error', path: [...path, field], message });
  const { name = '', apiVersion, matchImages = [], defaultCacheDuration, args = [], env = [] } = found;
  if (name === '' || name === '.' || name === '..' || /[/ ]/.test(name)) {
    wrong('name', `is ${JSON.stringify(name)}; expected the name of a program, without "/" and spaces`);
  }
  if (apiVersion === undefined) wrong('apiVersion', 'is required');
  if (matchImages.length === 0) wrong('matchImages', 'must have at least one item');
  if (matchImages.some((image) => /\s/.test(image))) wrong('matchImages', 'must not contain spaces');
  if (defaultCacheDuration === undefined) wrong('defaultCacheDuration', 'is required');
  return {
    name,
    apiVersion: apiVersion ?? '',
    matchImages,
    defaultCacheMs: defaultCacheDuration ?? 0,
    args,
    environment: Object.fromEntries(env.map(({ name: key = '', value = '' }) => [key, value])),
    tokenAttributes: tokenAttributesOf(found, [...path, 'tokenAttributes'], report),
  };
}

function tokenAttributesOf(
  { tokenAttributes: found, apiVersion }: Provider,
  path: readonly (string | number)[],
  report: Report,
): CredentialProvider['tokenAttributes'] {
  if (found === undefined) return undefined;
  const wrong = (field: string, message: string): void => report({ level: 'error', path: [...path, field], message });
  const {
    serviceAccountTokenAudience: audience = '',
    cacheType,
    requireServiceAccount,
    requiredServiceAccountAnnotationKeys: required = [],
    optionalServiceAccountAnnotationKeys: optional = [],
  } = found;
  if (audience === '') wrong('serviceAccountTokenAudience', 'is required');
  if (cacheType === undefined) wrong('cacheType', 'is required; expected ServiceAccount or Token');
  if (requireServiceAccount === undefined) wrong('requireServiceAccount', 'is required');
  if (apiVersion !== PLUGIN_V1) {
    report({ level: 'error', path, message: `is only supported for apiVersion ${PLUGIN_V1}` });
  }
  if (requireServiceAccount === false && required.length > 0) {
    wrong('requiredServiceAccountAnnotationKeys', 'cannot be set while requireServiceAccount is false');
  }
  const all = [...required, ...optional];
  for (const key of all) {
    const error = qualifiedNameError(key.toLowerCase());
    if (error !== undefined)
      report({ level: 'error', path, message: `names annotation ${JSON.stringify(key)}: ${error}` });
  }
  if (new Set(all).size !== all.length) report({ level: 'error', path, message: 'names an annotation key twice' });
  return {
    audience,
    cacheType: cacheType ?? 'ServiceAccount',
    requireServiceAccount: requireServiceAccount ?? true,
    requiredAnnotations: required,
    optionalAnnotations: optional,
  };
}
