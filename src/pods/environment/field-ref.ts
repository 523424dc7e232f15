import { CodedError } from '../../kit/errors.ts';
import type { Pod } from '../../model/pod.ts';

/** What a running pod knows of itself that its spec does not say. First addresses are the primary ones. */
export interface PodAddresses {
  readonly podIPs: readonly string[];
  readonly hostIPs: readonly string[];
}

const METADATA_KEY = /^metadata\.(labels|annotations)\['(.+)'\]$/;

/**
 * The text of one field of a pod for a fieldRef (pkg/fieldpath ExtractFieldPathAsString and kubelet's
 * podFieldSelectorRuntimeValue). Addresses are for variables only; volumes pass none and get the error.
 * Throws InvalidObject for any other path.
 */
export function podFieldValue(pod: Pod, fieldPath: string, addresses?: PodAddresses): string {
  const { metadata, spec } = pod;
  switch (fieldPath) {
    case 'metadata.name':
      return metadata.name ?? '';
    case 'metadata.namespace':
      return metadata.namespace ?? '';
    case 'metadata.uid':
      return metadata.uid ?? '';
    case 'metadata.labels':
      return formatMap(metadata.labels);
    case 'metadata.annotations':
      return formatMap(metadata.annotations);
  }
  if (addresses !== undefined) {
    switch (fieldPath) {
      case 'spec.nodeName':
        return spec.nodeName ?? '';
      case 'spec.serviceAccountName':
        return spec.serviceAccountName ?? '';
      case 'status.podIP':
        return addresses.podIPs[0] ?? '';
      case 'status.podIPs':
        return addresses.podIPs.join(',');
      case 'status.hostIP':
        return addresses.hostIPs[0] ?? '';
      case 'status.hostIPs':
        return addresses.hostIPs.join(',');
    }
  }
  const [, map, key] = METADATA_KEY.exec(fieldPath) ?? [];
  if (map !== undefined && key !== undefined) {
    return (map === 'labels' ? metadata.labels : metadata.annotations)?.[key] ?? '';
  }
  throw new CodedError('InvalidObject', `unsupported fieldPath: ${fieldPath}`, { fieldPath });
}

/** Labels or annotations as a downwardAPI file holds them: one `key="value"` a line, sorted, quoted as Go's %q does. */
export function formatMap(map: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([key, value]) => `${key}=${quote(value)}`)
    .join('\n');
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\u0007': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
};
const PRINTABLE = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;

/** A Go string literal of the text (strconv.Quote). */
export function quote(text: string): string {
  let quoted = '"';
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (ESCAPES[character] !== undefined) quoted += ESCAPES[character];
    else if (PRINTABLE.test(character)) quoted += character;
    else if (code < 0x20 || code === 0x7f) quoted += `\\x${code.toString(16).padStart(2, '0')}`;
    else if (code < 0x10000) quoted += `\\u${code.toString(16).padStart(4, '0')}`;
    else quoted += `\\U${code.toString(16).padStart(8, '0')}`;
  }
  return `${quoted}"`;
}
