import { readFile } from 'node:fs/promises';
import { isMap, isScalar, isSeq, LineCounter, type Node, parseAllDocuments } from 'yaml';
import { messageOf } from '../kit/errors.ts';
import { type Documents, type Kind, kindOf, readDocument } from './config-documents.ts';
import type { Finding } from './fields.ts';

/** A finding with the place where it was found, as one line of text. */
export interface PlacedFinding {
  readonly level: Finding['level'];
  readonly text: string;
}

/** The documents of one YAML file, and everything that is wrong with them. Never throws for what the file says. */
export async function readConfigFile(
  path: string,
): Promise<{ readonly documents: Partial<Documents>; readonly findings: PlacedFinding[] }> {
  const findings: PlacedFinding[] = [];
  const documents: Partial<Documents> = {};
  let source: string;
  try {
    source = await readFile(path, 'utf8');
  } catch (error) {
    return { documents, findings: [{ level: 'error', text: `${path}: cannot be read: ${messageOf(error)}` }] };
  }
  const lines = new LineCounter();
  const parsed = parseAllDocuments(source, { lineCounter: lines });
  for (const document of 'empty' in parsed ? [] : parsed) {
    for (const error of document.errors) {
      const { line } = lines.linePos(error.pos[0]);
      findings.push({ level: 'error', text: `${path}:${line}: is not YAML: ${error.message.split('\n')[0]}` });
    }
    const content: unknown = document.errors.length > 0 ? null : document.toJS();
    if (content === null) continue;
    if (typeof content !== 'object' || Array.isArray(content)) {
      findings.push({ level: 'error', text: `${path}: is not a mapping; expected apiVersion, kind and fields` });
      continue;
    }
    let kind: Kind | undefined;
    const report = ({ level, path: place, message }: Finding): void => {
      const line = lineOf(document.contents, place, lines);
      const field = fieldText(place);
      findings.push({ level, text: `${path}:${line}: ${kind === undefined ? '' : `${kind}: `}${field} ${message}` });
    };
    const found = kindOf(content as Record<string, unknown>, report);
    if (found === undefined) continue;
    kind = found;
    if (documents[kind] !== undefined) report({ level: 'error', path: ['kind'], message: 'is there a second time' });
    else (documents as Record<Kind, unknown>)[kind] = readDocument(kind, content as Record<string, unknown>, report);
  }
  return { documents, findings };
}

/** `evictionHard.memory.available` would mislead: keys that are not plain words stand in brackets. */
export function fieldText(path: readonly (string | number)[]): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (/^[A-Za-z0-9_-]+$/.test(part)) text += text === '' ? part : `.${part}`;
    else text += `["${part}"]`;
  }
  return text;
}

/** The line of the deepest part of the path that is in the file. */
function lineOf(root: unknown, path: readonly (string | number)[], lines: LineCounter): number {
  let node = root;
  let at = (root as Node | null)?.range?.[0] ?? 0;
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === part);
      if (pair === undefined) break;
      at = (pair.key as Node).range?.[0] ?? at;
      node = pair.value;
    } else if (isSeq(node) && typeof part === 'number') {
      node = node.items[part];
      at = (node as Node | undefined)?.range?.[0] ?? at;
    } else break;
  }
  return lines.linePos(at).line;
}
