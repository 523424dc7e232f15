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

const sections = {
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

/** Reads what a document of a known kind says; apiVersion and kind are left out of it. */
export function readDocument<K extends Kind>(
  kind: K,
  document: Readonly<Record<string, unknown>>,
  report: Report,
): Documents[K] {
  const { apiVersion: _apiVersion, kind: _kind, ...fields } = document;
  return (sections[kind].read(fields, [], report) ?? {}) as Documents[K];
}

/** `over` goes before `under`; mappings are merged, lists and all else replaced. */
export function mergedValues<T>(under: T, over: T): T {
  if (!isMapping(under) || !isMapping(over)) return over === undefined ? under : over;
  const result: Record<string, unknown> = { ...under };
  for (const [key, value] of Object.entries(over)) result[key] = mergedValues(result[key], value);
  return result as T;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
