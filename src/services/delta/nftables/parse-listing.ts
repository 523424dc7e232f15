/** A chain as it stands in the kernel. */
export interface ListedChain {
  readonly hook: string | undefined;
  readonly rules: readonly string[];
  /** The kernel's number of each rule, in their order, where the list has them. */
  readonly handles?: readonly number[];
}

export interface ListedTable {
  readonly chains: Map<string, ListedChain>;
  /** Sets and maps by name: their definitions, as container definitions are written. */
  readonly containers: Map<string, string>;
  /** Container → key → value ("" in sets). */
  readonly elements: Map<string, Map<string, string>>;
}

const elementsHead = 'elements = {';
const handleAtEnd = / # handle (\d+)$/;

/** So many elements are read in one step. */
const perStep = 5_000;

/**
 * Reads what `nft -n [-a] list table` printed, in steps: ten thousand Services are megabytes, and nobody should wait for all
 * of them to be read. `wanted`: whether a container's elements are looked at.
 */
export function* parseTable(text: string, wanted: (container: string) => boolean): Generator<void, ListedTable> {
  const table: ListedTable = { chains: new Map(), containers: new Map(), elements: new Map() };
  const head = /^\t(chain|map|set) (\S+) \{(?: # handle \d+)?$/gm;
  for (let found = head.exec(text); found !== null; found = head.exec(text)) {
    const [, kind, name = ''] = found;
    const end = text.indexOf('\n\t}', head.lastIndex);
    const body = text.slice(head.lastIndex, end);
    if (kind === 'chain') table.chains.set(name, chainOf(linesOf(body)));
    else {
      const start = body.indexOf(elementsHead);
      table.containers.set(name, linesOf(start === -1 ? body : body.slice(0, start)).join('; '));
      if (wanted(name)) table.elements.set(name, start === -1 ? new Map() : yield* elementsOf(body, start));
    }
    head.lastIndex = end;
  }
  return table;
}

function linesOf(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

function chainOf(lines: readonly string[]): ListedChain {
  const hook = lines[0]?.startsWith('type ') ? lines[0] : undefined;
  const handles: number[] = [];
  const rules = (hook === undefined ? lines : lines.slice(1)).map((line) => {
    const found = handleAtEnd.exec(line);
    if (found === null) return line;
    handles.push(Number(found[1]));
    return line.slice(0, found.index);
  });
  return handles.length === 0 ? { hook, rules } : { hook, rules, handles };
}

function* elementsOf(body: string, start: number): Generator<void, Map<string, string>> {
  const elements = new Map<string, string>();
  const end = body.lastIndexOf('}');
  // No element has a brace or a comma in it.
  for (let at = start + elementsHead.length; at < end; ) {
    const comma = body.indexOf(',', at);
    const next = comma === -1 ? end : comma;
    const [key = '', value = ''] = body.slice(at, next).trim().split(' : ');
    elements.set(key, value);
    at = next + 1;
    if (elements.size % perStep === 0) yield;
  }
  return elements;
}
