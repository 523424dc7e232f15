import { nearMiss } from '../kit/near-miss.ts';
import { deckhandFields } from './deckhand-fields.ts';
import { type Report, section, type Values } from './fields.ts';
import { kubeProxyFields } from './kube-proxy-fields.ts';
import { kubeletFields } from './kubelet-fields.ts';

/** The three kinds, by kind. */
export interface Documents {
  KubeletConfiguration: Values<typeof kubeletFields>;
  KubeProxyConfiguration: Values<typeof kubeProxyFields>;
  DeckhandConfiguration: Values<typeof deckhandFields>;
}

export type Kind = keyof Documents;

export const apiVersions: Readonly<Record<Kind, string>> = {
  KubeletConfiguration: 'kubelet.config.k8s.io/v1beta1',
  KubeProxyConfiguration: 'kubeproxy.config.k8s.io/v1alpha1',
  DeckhandConfiguration: 'deckhand.dev/v1alpha1',
};

/** The fields of each kind. */
export const sections = {
  KubeletConfiguration: section(kubeletFields),
  KubeProxyConfiguration: section(kubeProxyFields),
  DeckhandConfiguration: section(deckhandFields),
} as const;

/** The kind of a document, or undefined after a report of what is wrong with its apiVersion or kind. */
export function kindOf(document: Readonly<Record<string, unknown>>, report: Report): Kind | undefined {
  const { apiVersion, kind } = document;
  const kinds = Object.keys(apiVersions) as Kind[];
  const known = kinds.find((candidate) => candidate === kind);
  if (known === undefined) {
    const meant = typeof kind === 'string' ? nearMiss(kind, kinds) : undefined;
    const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
    report({
      level: 'error',
      path: ['kind'],
      message: `is ${JSON.stringify(kind) ?? 'missing'}; expected ${kinds.join(' or ')}${hint}`,
    });
    return undefined;
  }
  if (apiVersion !== apiVersions[known]) {
    const message = `is ${JSON.stringify(apiVersion) ?? 'missing'}; expected ${apiVersions[known]} for a ${known}`;
    report({ level: 'error', path: ['apiVersion'], message });
  }
  return known;
}

/** Reads the fields of a document, apiVersion and kind left out. */
export function readDocument<K extends Kind>(
  kind: K,
  fields: Readonly<Record<string, unknown>>,
  report: Report,
): Documents[K] {
  return (sections[kind].read(fields, [], report) ?? {}) as Documents[K];
}
