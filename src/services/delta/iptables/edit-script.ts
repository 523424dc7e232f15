/** `position` counts from 0 in the list as the edits before this one have left it. */
export type Edit =
  | { readonly kind: 'delete'; readonly text: string }
  | { readonly kind: 'insert'; readonly text: string; readonly position: number };

/**
 * Edits that turn one list of distinct texts into another: first all deletions, then all insertions from the head on.
 * undefined when edits cannot do it: a text occurs twice, or the texts that stay are in another order; then the list
 * must be written anew.
 */
export function editScript(from: readonly string[], to: readonly string[]): readonly Edit[] | undefined {
  let head = 0;
  while (head < from.length && head < to.length && from[head] === to[head]) head++;
  let fromEnd = from.length;
  let toEnd = to.length;
  while (fromEnd > head && toEnd > head && from[fromEnd - 1] === to[toEnd - 1]) {
    fromEnd--;
    toEnd--;
  }
  if (head === fromEnd && head === toEnd) return [];
  // A deletion names its text, so a text that occurs twice could lose the wrong one.
  if (new Set(from).size !== from.length || new Set(to).size !== to.length) return undefined;

  const wanted = new Set(to.slice(head, toEnd));
  const edits: Edit[] = [];
  const staying: string[] = [];
  for (const text of from.slice(head, fromEnd)) {
    if (wanted.has(text)) staying.push(text);
    else edits.push({ kind: 'delete', text });
  }
  let next = 0;
  for (let position = head; position < toEnd; position++) {
    const text = to[position] ?? '';
    if (staying[next] === text) next++;
    else edits.push({ kind: 'insert', text, position });
  }
  return next === staying.length ? edits : undefined;
}
