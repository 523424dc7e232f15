import type { Config } from './config.ts';
import { apiVersions, type Kind, sections } from './config-documents.ts';
import type { Complete } from './config-of.ts';

export type EffectiveDocument = { readonly apiVersion: string; readonly kind: Kind } & Readonly<
  Record<string, unknown>
>;

/**
 * What is in force, as documents that say the same when they are read again. Header values and passwords of URLs are
 * masked, as in kubelet's log.
 */
export function effectiveDocuments({ kubelet, proxy, own }: Complete, config: Config): readonly EffectiveDocument[] {
  const urlHeader = Object.fromEntries(Object.keys(kubelet.staticPodURLHeader).map((name) => [name, ['<masked>']]));
  const ownDocument = {
    ...own,
    certDir: config.certificates.directory,
    checkpoint: config.checkpoint,
    hostnameOverride: config.nodeName,
    log: config.log,
    nodeIPs: config.nodeIPs,
    proxyKubeconfig: config.proxyKubeconfig ?? '',
  };
  const kubeletDocument = {
    ...kubelet,
    address: config.node.address,
    imageServiceEndpoint: config.runtime.imageEndpoint,
    kubeReserved: config.reserved.kube,
    logging: { ...kubelet.logging, format: config.log.format, ...verbosity(config) },
    staticPodURL: withoutPassword(kubelet.staticPodURL),
    staticPodURLHeader: urlHeader,
    systemReserved: config.reserved.system,
  };
  return [
    document('KubeletConfiguration', sections.KubeletConfiguration.show(kubeletDocument)),
    document('KubeProxyConfiguration', sections.KubeProxyConfiguration.show(proxy)),
    document('DeckhandConfiguration', sections.DeckhandConfiguration.show(ownDocument)),
  ];
}

// 0 cannot be told from absent there.
function verbosity({ log }: Config): { readonly verbosity?: number } {
  return log.verbosity === 0 ? {} : { verbosity: log.verbosity };
}

function document(kind: Kind, fields: Readonly<Record<string, unknown>>): EffectiveDocument {
  const sorted = Object.entries(fields).sort(([left], [right]) => (left < right ? -1 : 1));
  return { apiVersion: apiVersions[kind], kind, ...Object.fromEntries(sorted) };
}

function withoutPassword(url: string): string {
  if (!URL.canParse(url)) return url;
  const parsed = new URL(url);
  if (parsed.password === '') return url;
  parsed.password = 'masked';
  return parsed.href;
}
