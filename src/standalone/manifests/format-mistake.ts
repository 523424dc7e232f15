import type { ManifestMistake } from './port.ts';

/** One line: `web.yaml:14:5: document 2: Pod default/web: spec.containers[0].image: Required value`. */
export function formatMistake(mistake: ManifestMistake): string {
  const { file, document, line, column, object, field, message } = mistake;
  const place = [file, line, line === undefined ? undefined : column].filter((part) => part !== undefined).join(':');
  const parts = [place, document === undefined ? undefined : `document ${document}`, object, field, message];
  return parts.filter((part) => part !== undefined && part !== '').join(': ');
}
