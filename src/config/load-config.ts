import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { CodedError } from '../kit/errors.ts';
import type { Config } from './config.ts';
import { type Documents, type Kind, readDocument, sections } from './config-documents.ts';
import { type Complete, configOf } from './config-of.ts';
import { type EffectiveDocument, effectiveDocuments } from './effective-documents.ts';
import { flagLayers, type GivenFlags } from './flag-layers.ts';
import { checkKubeProxy, completeKubeProxy } from './kube-proxy-rules.ts';
import { checkKubelet, completeKubelet, type Enabled } from './kubelet-rules.ts';
import { isMapping, type Layer, mergedContent, type PlacedFinding, whereIs } from './layer.ts';

export interface ConfigSources {
  /** Files in the order in which they were given; later ones go over earlier ones. */
  readonly files: readonly string[];
  /** A folder of drop-ins, which go over the files. */
  readonly configDir?: string;
  /** By flag name without dashes. */
  readonly flags: GivenFlags;
  /** What was wrong with the arguments as such. */
  readonly findings?: readonly PlacedFinding[];
  /** Default: os.hostname. */
  readonly hostname?: () => string;
  /** Whether there is a file. Default: fs.existsSync. */
  readonly exists?: (path: string) => boolean;
}

export interface CheckedConfig {
  /** Undefined when there is an error among the findings. */
  readonly config: Config | undefined;
  readonly findings: readonly PlacedFinding[];
  /** Files of configDir that are no drop-ins. */
  readonly skipped: readonly string[];
  /** The three kinds with all defaults, secrets left out. */
  readonly effective: () => readonly EffectiveDocument[];
}

/**
 * Everything that flags and files say, in one frozen Config. Throws InvalidConfig with one line for each mistake, naming
 * file and line or flag, field, value and what is expected. `warnings` are for the log.
 */
export async function loadConfig(
  sources: ConfigSources,
): Promise<
  { readonly config: Config; readonly warnings: readonly string[] } & Pick<CheckedConfig, 'effective' | 'skipped'>
> {
  const { config, findings, effective, skipped } = await checkConfig(sources);
  const errors = findings.filter((finding) => finding.level === 'error');
  if (config === undefined) {
    throw new CodedError('InvalidConfig', errors.map((finding) => finding.text).join('\n'), { errors: errors.length });
  }
  return { config, warnings: findings.map((finding) => finding.text), effective, skipped };
}

/** As loadConfig, but tells all findings instead of throwing. */
export async function checkConfig(sources: ConfigSources): Promise<CheckedConfig> {
  const { layers, findings, skipped } = await readLayers(sources);
  const place = (
    level: PlacedFinding['level'],
    kind: Kind,
    path: readonly (string | number)[],
    message: string,
  ): void => {
    findings.push({ level, text: `${whereIs(layers, kind, path)} ${message}` });
  };
  for (const { kind, content, where } of layers) {
    readDocument(kind, content, ({ level, path, message }) => {
      if (level === 'error') findings.push({ level, text: `${where(path)} ${message}` });
    });
  }
  const merged = <K extends Kind>(kind: K): Documents[K] =>
    readDocument(kind, mergedContent(layers, kind), ({ level, path, message }) => {
      // What a layer says wrongly was told above, where it stands.
      if (level === 'warning') place(level, kind, path, message);
    });
  const given = {
    kubelet: merged('KubeletConfiguration'),
    proxy: merged('KubeProxyConfiguration'),
    own: merged('DeckhandConfiguration'),
  };
  const kubelet = completeKubelet(given.kubelet);
  const proxy = completeKubeProxy(given.proxy);
  const own = sections.DeckhandConfiguration.fill(given.own);
  const error =
    (kind: Kind) =>
    (path: readonly (string | number)[], message: string): void =>
      place('error', kind, path, message);

  const enabled = await checkGates(given, place);
  checkKubelet(kubelet, given.kubelet, enabled, error('KubeletConfiguration'));
  checkKubeProxy(proxy, error('KubeProxyConfiguration'));
  const proxyKubeconfig = proxy.clientConnection.kubeconfig;
  const proxyKubeconfigExists = proxyKubeconfig !== '' && (sources.exists ?? existsSync)(proxyKubeconfig);
  const complete: Complete = {
    kubelet,
    proxy,
    own,
    enabled,
    proxyKubeconfigExists,
    given: { maxOpenFiles: given.kubelet.maxOpenFiles !== undefined },
  };
  const config = configOf(complete, sources.hostname ?? hostname, (kind, path, message) =>
    place('error', kind, path, message),
  );
  warnOfHalfHonoured(complete, given.kubelet, place);
  const failed = findings.some((finding) => finding.level === 'error');
  return {
    config: failed ? undefined : deepFrozen(config),
    findings,
    skipped,
    effective: () => effectiveDocuments(complete, config),
  };
}

async function readLayers({ files, configDir, flags, findings: ofArguments = [] }: ConfigSources): Promise<{
  readonly layers: readonly Layer[];
  readonly findings: PlacedFinding[];
  readonly skipped: readonly string[];
}> {
  const layers: Layer[] = [];
  const findings: PlacedFinding[] = [...ofArguments];
  let skipped: readonly string[] = [];
  if (files.length > 0 || configDir !== undefined) {
    // The YAML parser is not loaded where there is no file.
    const { readConfigDir, readConfigFile } = await import('./read-config-file.ts');
    for (const file of files) {
      const read = await readConfigFile(file);
      layers.push(...read.layers);
      findings.push(...read.findings);
    }
    if (configDir !== undefined) {
      const read = await readConfigDir(configDir);
      layers.push(...read.layers);
      findings.push(...read.findings);
      skipped = read.skipped;
    }
  }
  layers.push(...flagLayers(flags));
  return { layers, findings, skipped };
}

type Place = (level: PlacedFinding['level'], kind: Kind, path: readonly (string | number)[], message: string) => void;

/** Both kinds set gates of one process. */
async function checkGates(
  given: { readonly kubelet: Documents['KubeletConfiguration']; readonly proxy: Documents['KubeProxyConfiguration'] },
  place: Place,
): Promise<Enabled> {
  const { featureGates: ofKubelet = {} } = given.kubelet;
  const { featureGates: ofProxy = {} } = given.proxy;
  for (const [gate, on] of Object.entries(ofProxy)) {
    const other = ofKubelet[gate];
    if (other !== undefined && other !== on) {
      const message = `is ${on}, but KubeletConfiguration has ${other}; expected the same, for one process has both roles`;
      place('error', 'KubeProxyConfiguration', ['featureGates', gate], message);
    }
  }
  const { FeatureGates } = await import('./feature-gates.ts');
  const gates = new FeatureGates({ ...ofProxy, ...ofKubelet });
  for (const { level, gate, message } of gates.findings) {
    const kind =
      ofKubelet[gate] === undefined && ofProxy[gate] !== undefined ? 'KubeProxyConfiguration' : 'KubeletConfiguration';
    place(level, kind, ['featureGates', gate], message);
  }
  return (gate) => gates.enabled(gate);
}

/** Fields of which deckhand follows some values only. */
function warnOfHalfHonoured(
  { kubelet, proxy, own, proxyKubeconfigExists }: Complete,
  given: Documents['KubeletConfiguration'],
  place: Place,
): void {
  for (const field of ['evictionHard', 'evictionSoft'] as const) {
    for (const signal of Object.keys(given[field] ?? {})) {
      if (!signal.startsWith('containerfs.')) continue;
      const message = 'is ignored, as with kubelet: containerfs has the thresholds of the file system that it is on';
      place('warning', 'KubeletConfiguration', [field, signal], message);
    }
  }
  for (const [index, key] of kubelet.enforceNodeAllocatable.entries()) {
    if (key === 'pods' || key === 'none') continue;
    const message = `is ${key}: that cgroup is not limited yet, though what is reserved for it is kept from pods`;
    place('warning', 'KubeletConfiguration', ['enforceNodeAllocatable', index], message);
  }
  const file = proxy.clientConnection.kubeconfig;
  if (file !== '' && !proxyKubeconfigExists && own.kubeconfig !== '' && own.proxyKubeconfig === '') {
    const message = `is ${file}, which is not there; Services are read with the node's own identity, or that of --proxy-kubeconfig`;
    place('warning', 'KubeProxyConfiguration', ['clientConnection', 'kubeconfig'], message);
  }
}

function deepFrozen<T>(value: T): T {
  if ((isMapping(value) || Array.isArray(value)) && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFrozen(inner);
  }
  return value;
}
